//go:build wasip1

package wasi

import (
	"errors"
	"io"
	"unsafe"
)

//go:wasmimport wasi:io/poll@0.2.0 [method]pollable.ready
func pollableReady(pollable uint32) uint32

//go:wasmimport wasi:io/poll@0.2.0 [resource-drop]pollable
func pollableDrop(pollable uint32)

//go:wasmimport wasi:io/poll@0.2.0 poll
func poll(list unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport wasi:clocks/monotonic-clock@0.2.0 subscribe-duration
func subscribeDuration(nanoseconds uint64) uint32

//go:wasmimport wasi:io/error@0.2.0 [method]error.to-debug-string
func errorText(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:io/error@0.2.0 [resource-drop]error
func errorDrop(self uint32)

//go:wasmimport wasi:io/streams@0.2.0 [method]input-stream.read
func streamRead(self uint32, length uint64, result unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.0 [method]input-stream.subscribe
func inputSubscribe(self uint32) uint32

//go:wasmimport wasi:io/streams@0.2.0 [resource-drop]input-stream
func inputDrop(self uint32)

//go:wasmimport wasi:io/streams@0.2.0 [method]output-stream.check-write
func streamCheckWrite(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.0 [method]output-stream.write
func streamWrite(self uint32, contents unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.0 [method]output-stream.flush
func streamFlush(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.0 [method]output-stream.subscribe
func outputSubscribe(self uint32) uint32

//go:wasmimport wasi:io/streams@0.2.0 [resource-drop]output-stream
func outputDrop(self uint32)

// ErrClosed says that whoever reads a stream has gone.
var ErrClosed = errors.New("the other side is gone")

// errorTextMax are the bytes of an error's text that there is room for. The host's are sentences.
const errorTextMax = 64 << 10

// streamError reads a `stream-error` that begins at a word.
func streamError(r *results, at int) error {
	if r.byte(at) == 1 {
		return io.EOF
	}
	failed := r.word(at + 4)
	var result results
	memory := lend(errorTextMax)
	errorText(failed, unsafe.Pointer(&result))
	said := text(result.word(0), result.word(4))
	keep(memory)
	errorDrop(failed)
	return errors.New(said)
}

// An Input is a stream of bytes from the host.
type Input uint32

// readMax is the most that one read gives: what a host has ready at a time.
const readMax = 64 << 10

// Read waits until there is something.
func (in Input) Read(into []byte) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	for {
		var result results
		memory := lend(min(len(into), readMax))
		streamRead(uint32(in), uint64(min(len(into), readMax)), unsafe.Pointer(&result))
		if result.byte(0) == 1 {
			return 0, streamError(&result, 4)
		}
		n := copy(into, lift(result.word(4), result.word(8)))
		keep(memory)
		if n > 0 {
			return n, nil
		}
		Wait(inputSubscribe(uint32(in)))
	}
}

// Drop gives the stream back.
func (in Input) Drop() { inputDrop(uint32(in)) }

// An Output is a stream of bytes to the host.
type Output uint32

// room waits until something can be written, and says how much.
func (out Output) room() (int, error) {
	for {
		var result results
		streamCheckWrite(uint32(out), unsafe.Pointer(&result))
		if result.byte(0) == 1 {
			return 0, gone(streamError(&result, 8))
		}
		if n := result.long(8); n > 0 {
			return int(min(n, 1<<20)), nil
		}
		Wait(outputSubscribe(uint32(out)))
	}
}

// Write waits until all of it was taken.
func (out Output) Write(bytes []byte) (int, error) {
	written := 0
	for written < len(bytes) {
		room, err := out.room()
		if err != nil {
			return written, err
		}
		part := bytes[written:min(len(bytes), written+room)]
		var result results
		at, length := lowerBytes(part)
		streamWrite(uint32(out), at, length, unsafe.Pointer(&result))
		if result.byte(0) == 1 {
			return written, gone(streamError(&result, 4))
		}
		written += len(part)
	}
	return written, nil
}

// Flush begins to send what was written.
func (out Output) Flush() error {
	var result results
	streamFlush(uint32(out), unsafe.Pointer(&result))
	if result.byte(0) == 1 {
		return gone(streamError(&result, 4))
	}
	return nil
}

// Sent waits until all that was flushed is on its way.
func (out Output) Sent() error {
	_, err := out.room()
	return err
}

// Drop gives the stream back.
func (out Output) Drop() { outputDrop(uint32(out)) }

// gone is what the end of a stream means to its writer.
func gone(err error) error {
	if err == io.EOF {
		return ErrClosed
	}
	return err
}
