//go:build wasip1

// Package kv keeps values that outlive the program: wasi:keyvalue, which is a draft.
//
//	visits, err := kv.Open("visits")
//	...
//	count, err := visits.Increment("home", 1)
//
// The pod says where they are kept, with the annotation coracle.dev/keyvalue.<container>.
package kv

import (
	"iter"

	"coracle.dev/sdk/internal/wasi"
)

// ErrDenied says that the pod was granted no place to keep values.
var ErrDenied = wasi.ErrDenied

// A Bucket holds values by their keys. It may be used by several goroutines.
type Bucket struct{ bucket wasi.Bucket }

// Open opens a bucket; one that is not there is made. The empty name is "default".
func Open(name string) (*Bucket, error) {
	bucket, err := wasi.OpenBucket(name)
	if err != nil {
		return nil, err
	}
	return &Bucket{bucket}, nil
}

// Get reads a value; nil if there is none.
func (b *Bucket) Get(key string) ([]byte, error) { return b.bucket.Get(key) }

// Set writes a value of at most 1 MiB. It is on disk when this returns.
func (b *Bucket) Set(key string, value []byte) error { return b.bucket.Set(key, value) }

// Delete removes a value, if it is there.
func (b *Bucket) Delete(key string) error { return b.bucket.Delete(key) }

// Increment adds to the number that a key holds, as decimal text, and gives the sum; nothing counts as 0. Nobody
// else's change comes between.
func (b *Bucket) Increment(key string, delta int64) (int64, error) {
	return b.bucket.Increment(key, delta)
}

// Keys gives all keys, in an order of the store's own. Those that are set meanwhile may be missing.
func (b *Bucket) Keys() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var cursor *string
		for {
			keys, next, err := b.bucket.Keys(cursor)
			if err != nil {
				yield("", err)
				return
			}
			for _, key := range keys {
				if !yield(key, nil) {
					return
				}
			}
			if next == nil {
				return
			}
			cursor = next
		}
	}
}

// Close gives the bucket back.
func (b *Bucket) Close() error {
	b.bucket.Drop()
	return nil
}
