//go:build wasip1

package wasi

import "unsafe"

//go:wasmimport coracle:lifecycle/stop@0.1.0 subscribe
func stopSubscribe() uint32

//go:wasmimport coracle:lifecycle/stop@0.1.0 remaining
func stopRemaining(result unsafe.Pointer)

// Stopped gives a pollable that is ready when this program should end.
func Stopped() uint32 { return stopSubscribe() }

// StopRemaining gives the nanoseconds that are left to end, if it should.
func StopRemaining() (uint64, bool) {
	var result results
	stopRemaining(unsafe.Pointer(&result))
	return result.long(8), result.byte(0) == 1
}
