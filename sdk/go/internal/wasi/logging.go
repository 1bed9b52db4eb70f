//go:build wasip1

package wasi

import "unsafe"

//go:wasmimport wasi:logging/logging@0.1.0-draft log
func logging(level uint32, context unsafe.Pointer, contextLength uint32, message unsafe.Pointer, length uint32)

// Log writes a message with a level: 0 is trace, 1 debug, 2 info, 3 warn, 4 error, 5 critical.
func Log(level uint32, context, message string) {
	at, length := lower(context)
	messageAt, messageLength := lower(message)
	logging(level, at, length, messageAt, messageLength)
}
