//go:build wasip1

// Package stop tells a command that its pod is being stopped, which other systems do by a signal.
//
//	ctx := stop.Context(context.Background())
//	for ctx.Err() == nil {
//		work(ctx)
//	}
//	save()
//
// A program that imports it has until the end of its pod's grace period; one that does not is ended at once.
package stop

import (
	"context"
	"errors"
	"time"

	"coracle.dev/sdk/internal/wasi"
)

// ErrStopped is the cause of the end of a Context.
var ErrStopped = errors.New("the pod is being stopped")

// Context gives a context that is done when this program should end, or when its parent is.
func Context(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		if wasi.WaitFor(parent, wasi.Stopped()) == nil {
			cancel(ErrStopped)
		}
	}()
	return ctx
}

// Remaining gives how long this program has left; false as long as it was not asked to end.
func Remaining() (time.Duration, bool) {
	left, asked := wasi.StopRemaining()
	return time.Duration(min(left, 1<<63-1)), asked
}
