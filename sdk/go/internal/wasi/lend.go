//go:build wasip1

// Package wasi speaks the interfaces of WASI 0.2 that standard Go knows nothing of, as the component model's
// canonical ABI lowers them. Other packages of this module make of it what a Go program expects.
//
// Coracle makes a component of a module that imports these names: host/runtime/src/prepare says how.
package wasi

import (
	"runtime"
	"unsafe"
)

// A call that gives back lists or strings takes the memory for them from what was lent to it before: two words
// at a place that Go's linker leaves free tell the beginning and the end. The host's function that takes it,
// and not one of Go's, is asked for memory in the middle of the call: Go's might read the clock, which nobody
// may while a call is under way.
//
// Source: host/runtime/src/prepare/golang.rs, LENT_AT.
const lentAt = 4096

// A loan is memory for the answer of one call.
type loan []uint64

// lend gives bytes to the next call. The caller makes that call next, and waits for nothing before it.
func lend(bytes int) loan {
	memory := make(loan, (bytes+7)/8)
	memory.use()
	return memory
}

// use lends it to the next call, again.
func (memory loan) use() {
	words := (*[2]uint32)(pointer(lentAt))
	from := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
	words[0], words[1] = from, from+uint32(len(memory)*8)
}

// pointer makes a pointer of an address that the host gave; what is there is held by a loan.
func pointer(address uint32) unsafe.Pointer {
	at := uintptr(address)
	return *(*unsafe.Pointer)(unsafe.Pointer(&at))
}

// lift gives the bytes of a list, which lie in a loan. They stay there for as long as somebody holds them.
func lift(address, length uint32) []byte {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(pointer(address)), length)
}

// text copies a string out of a loan.
func text(address, length uint32) string { return string(lift(address, length)) }

// lower gives a string's bytes to a call.
func lower(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

// lowerBytes gives bytes to a call.
func lowerBytes(b []byte) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))
}

// results is a place for what a call gives back beside its first value: words of 32 bits, aligned to 64.
type results [8]uint64

func (r *results) byte(at int) byte { return (*[64]byte)(unsafe.Pointer(r))[at] }

func (r *results) word(at int) uint32 { return (*[16]uint32)(unsafe.Pointer(r))[at/4] }

func (r *results) long(at int) uint64 { return r[at/8] }

// keep holds a loan up to here: what lies in it is reached by addresses that Go does not know.
func keep(memory loan) { runtime.KeepAlive(memory) }
