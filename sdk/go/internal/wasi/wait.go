//go:build wasip1

package wasi

import (
	"context"
	"runtime"
	"time"
	"unsafe"
)

// Go's scheduler waits for its timers alone: it cannot be told of what the host makes ready. So goroutines that
// wait for the host register here, and one more of them, the poller, asks the host for all at once, whenever
// the others have had their turn.

// A waiter is a goroutine that waits for the host.
type waiter struct {
	pollable uint32
	ready    chan struct{}
}

var (
	waiting []*waiter
	polling bool
)

// The poller looks after its neighbours' timers that often: at once while there is something to do, and then
// ever more seldom. A timer is late by so much at most while a goroutine waits for the host.
const (
	sliceMin = time.Millisecond
	sliceMax = 16 * time.Millisecond
)

// Wait blocks this goroutine until the pollable is ready, and gives it back. Others run meanwhile.
func Wait(pollable uint32) { _ = WaitFor(context.Background(), pollable) }

// WaitFor is Wait, until the context is done, whose error it gives.
func WaitFor(ctx context.Context, pollable uint32) error {
	if pollableReady(pollable) != 0 {
		pollableDrop(pollable)
		return ctx.Err()
	}
	me := &waiter{pollable, make(chan struct{})}
	waiting = append(waiting, me)
	if !polling {
		polling = true
		go run()
	}
	select {
	case <-me.ready:
		return nil
	case <-ctx.Done():
		forget(me)
		return ctx.Err()
	}
}

func forget(gone *waiter) {
	for i, waiter := range waiting {
		if waiter == gone {
			waiting = append(waiting[:i], waiting[i+1:]...)
			pollableDrop(gone.pollable)
			return
		}
	}
}

// run is the poller. It ends when nobody waits.
func run() {
	slice := sliceMin
	for len(waiting) > 0 {
		if wake(slice) {
			slice = sliceMin
		} else {
			slice = min(2*slice, sliceMax)
		}
		// Whoever can run does, down to its next wait.
		runtime.Gosched()
	}
	polling = false
}

// wake asks the host once, for a while, and says whether somebody's wait was over.
func wake(slice time.Duration) bool {
	pollables := make([]uint32, 0, len(waiting)+1)
	for _, waiter := range waiting {
		pollables = append(pollables, waiter.pollable)
	}
	end := subscribeDuration(uint64(slice))
	pollables = append(pollables, end)
	asked := waiting
	waiting = nil
	var result results
	memory := lend(4 * len(pollables))
	poll(unsafe.Pointer(&pollables[0]), uint32(len(pollables)), unsafe.Pointer(&result))
	ready := make(map[uint32]bool)
	for _, index := range unsafe.Slice((*uint32)(pointer(result.word(0))), result.word(4)) {
		ready[index] = true
	}
	keep(memory)
	pollableDrop(end)
	woken := false
	rest := make([]*waiter, 0, len(asked))
	for index, waiter := range asked {
		if !ready[uint32(index)] {
			rest = append(rest, waiter)
			continue
		}
		woken = true
		pollableDrop(waiter.pollable)
		close(waiter.ready)
	}
	waiting = append(rest, waiting...)
	return woken
}
