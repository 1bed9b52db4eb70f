//go:build wasip1

package wasi

import (
	"errors"
	"unsafe"
)

//go:wasmimport wasi:keyvalue/store@0.2.0-draft2 open
func bucketOpen(name unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport wasi:keyvalue/store@0.2.0-draft2 [method]bucket.get
func bucketGet(self uint32, key unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport wasi:keyvalue/store@0.2.0-draft2 [method]bucket.set
func bucketSet(self uint32, key unsafe.Pointer, length uint32, value unsafe.Pointer, valueLength uint32, result unsafe.Pointer)

//go:wasmimport wasi:keyvalue/store@0.2.0-draft2 [method]bucket.delete
func bucketDelete(self uint32, key unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport wasi:keyvalue/store@0.2.0-draft2 [method]bucket.list-keys
func bucketKeys(self uint32, hasCursor uint32, cursor unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport wasi:keyvalue/store@0.2.0-draft2 [resource-drop]bucket
func bucketDrop(self uint32)

//go:wasmimport wasi:keyvalue/atomics@0.2.0-draft2 increment
func bucketIncrement(self uint32, key unsafe.Pointer, length uint32, delta uint64, result unsafe.Pointer)

// Bucket is a handle of wasi:keyvalue.
type Bucket uint32

// ErrDenied says that the pod was granted no place to keep values.
var ErrDenied = errors.New("the pod was granted no place for values: annotate it with coracle.dev/keyvalue.<container>")

// valueMax is what there is room for of an answer: the host's largest value, and as many names of keys.
const valueMax = 1<<20 + 64<<10

// values is room that was used before and is free.
var values loan

// asked makes a call with room for its answer.
func asked[T any](call func(*results) (T, error)) (T, error) {
	memory := values
	values = nil
	if memory == nil {
		memory = make(loan, valueMax/8)
	}
	result := new(results)
	memory.use()
	answer, err := call(result)
	keep(memory)
	values = memory
	return answer, err
}

// storeError reads an `error` of a store that begins at a word.
func storeError(r *results, at int) error {
	switch r.byte(at) {
	case 0:
		return errors.New("no such bucket")
	case 1:
		return ErrDenied
	default:
		return errors.New(text(r.word(at+4), r.word(at+8)))
	}
}

// none reads a result without a value.
func none(r *results) (struct{}, error) {
	if r.byte(0) == 1 {
		return struct{}{}, storeError(r, 4)
	}
	return struct{}{}, nil
}

// OpenBucket opens a bucket; one that is not there is made.
func OpenBucket(name string) (Bucket, error) {
	return asked(func(r *results) (Bucket, error) {
		at, length := lower(name)
		bucketOpen(at, length, unsafe.Pointer(r))
		if r.byte(0) == 1 {
			return 0, storeError(r, 4)
		}
		return Bucket(r.word(4)), nil
	})
}

// Get reads a value; nil if there is none, and empty if it is.
func (b Bucket) Get(key string) ([]byte, error) {
	return asked(func(r *results) ([]byte, error) {
		at, length := lower(key)
		bucketGet(uint32(b), at, length, unsafe.Pointer(r))
		if r.byte(0) == 1 {
			return nil, storeError(r, 4)
		}
		if r.byte(4) == 0 {
			return nil, nil
		}
		return append([]byte{}, lift(r.word(8), r.word(12))...), nil
	})
}

// Set writes a value.
func (b Bucket) Set(key string, value []byte) error {
	_, err := asked(func(r *results) (struct{}, error) {
		at, length := lower(key)
		valueAt, valueLength := lowerBytes(value)
		bucketSet(uint32(b), at, length, valueAt, valueLength, unsafe.Pointer(r))
		return none(r)
	})
	return err
}

// Delete removes a value, if it is there.
func (b Bucket) Delete(key string) error {
	_, err := asked(func(r *results) (struct{}, error) {
		at, length := lower(key)
		bucketDelete(uint32(b), at, length, unsafe.Pointer(r))
		return none(r)
	})
	return err
}

// Increment adds to a number, and gives the sum.
func (b Bucket) Increment(key string, delta int64) (int64, error) {
	return asked(func(r *results) (int64, error) {
		at, length := lower(key)
		bucketIncrement(uint32(b), at, length, uint64(delta), unsafe.Pointer(r))
		if r.byte(0) == 1 {
			return 0, storeError(r, 8)
		}
		return int64(r.long(8)), nil
	})
}

// Keys gives a page of keys, and where the next one begins.
func (b Bucket) Keys(cursor *string) (keys []string, next *string, err error) {
	_, err = asked(func(r *results) (struct{}, error) {
		has, from := uint32(0), ""
		if cursor != nil {
			has, from = 1, *cursor
		}
		at, length := lower(from)
		bucketKeys(uint32(b), has, at, length, unsafe.Pointer(r))
		if r.byte(0) == 1 {
			return struct{}{}, storeError(r, 4)
		}
		if count := r.word(8); count > 0 {
			for _, key := range unsafe.Slice((*[2]uint32)(pointer(r.word(4))), count) {
				keys = append(keys, text(key[0], key[1]))
			}
		}
		if r.byte(12) == 1 {
			more := text(r.word(16), r.word(20))
			next = &more
		}
		return struct{}{}, nil
	})
	return keys, next, err
}

// Drop gives the bucket back.
func (b Bucket) Drop() { bucketDrop(uint32(b)) }
