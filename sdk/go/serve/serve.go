//go:build wasip1

// Package serve makes an http.Handler the whole of a component: Coracle answers each request of a pod's with it.
//
//	func init() {
//		http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
//			fmt.Fprintf(w, "hello, %s\n", r.URL.Path)
//		})
//		serve.HTTP(http.DefaultServeMux)
//	}
//
//	func main() {}
//
// It is built as a reactor, which has no main:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o app.wasm
//
// Each request is answered by a fresh instance, unless the pod asks for something else: what a variable holds is
// gone after it. A goroutine that is still at work when the handler has returned goes no further. With this
// package, net/http's default client asks through the host, as package fetch has it.
package serve

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"

	// http.Get and the like work in a handler.
	_ "coracle.dev/sdk/fetch"
	"coracle.dev/sdk/internal/wasi"
)

// answering is what answers requests.
var answering http.Handler

// HTTP makes handler answer this component's requests. Call it from an init function; the last call holds.
func HTTP(handler http.Handler) { answering = handler }

//go:wasmexport wasi:http/incoming-handler@0.2.0#handle
func handle(request, param uint32) {
	asked := wasi.ReadRequest(request)
	out := &writer{header: make(http.Header), param: param, isHead: asked.Method == http.MethodHead}
	ctx, cancel := context.WithCancel(context.Background())
	r, err := read(ctx, asked)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
	} else {
		answer(out, r)
		r.Body.Close()
	}
	cancel()
	out.finish()
	asked.Drop()
}

// answer lets the handler answer; one that panics has failed, and the log says where.
func answer(out *writer, r *http.Request) {
	defer func() {
		if failed := recover(); failed != nil {
			if failed != http.ErrAbortHandler {
				fmt.Fprintf(os.Stderr, "panic while answering %s %s: %v\n%s", r.Method, r.URL.Path, failed, debug.Stack())
			}
			out.abort()
		}
	}()
	handler := answering
	if handler == nil {
		http.Error(out, "nothing answers here: call serve.HTTP from an init function", http.StatusNotImplemented)
		return
	}
	handler.ServeHTTP(out, r)
}

// read makes a request of net/http.
func read(ctx context.Context, asked *wasi.Request) (*http.Request, error) {
	target, err := url.ParseRequestURI(asked.Path)
	if err != nil {
		return nil, err
	}
	host := asked.Authority
	if named := asked.Header.Get("Host"); named != "" {
		host = named
	}
	asked.Header.Del("Host")
	r := &http.Request{
		Method: asked.Method, URL: target, RequestURI: asked.Path, Host: host, Header: asked.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: wasi.Length(asked.Header),
		Body: &body{asked: asked},
	}
	return r.WithContext(ctx), nil
}

// A body is taken from the host when somebody reads it.
type body struct {
	asked  *wasi.Request
	taken  interface{ Read([]byte) (int, error) }
	close  func() error
	closed bool
}

func (b *body) Read(into []byte) (int, error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.taken == nil {
		content, err := b.asked.Body()
		if err != nil {
			return 0, err
		}
		b.taken, b.close = content, content.Close
	}
	return b.taken.Read(into)
}

func (b *body) Close() error {
	if b.closed || b.close == nil {
		b.closed = true
		return nil
	}
	b.closed = true
	return b.close()
}

// bufferBytes are held back of an answer: a shorter one is sent whole, with its length.
//
// Source: net/http holds back 2048.
const bufferBytes = 4 << 10

// A writer is an answer that is being written.
type writer struct {
	header  http.Header
	param   uint32
	isHead  bool
	status  int
	buffer  bytes.Buffer
	body    *wasi.Outgoing
	failed  error
	aborted bool
}

// Header is what WriteHeader will send.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader sets the status. It is sent with the first bytes of the body.
func (w *writer) WriteHeader(status int) {
	// Those below 200 announce another.
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

// Write adds to the body.
func (w *writer) Write(part []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if !hasBody(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.isHead {
		return len(part), nil
	}
	if w.body == nil && w.buffer.Len()+len(part) <= bufferBytes {
		return w.buffer.Write(part)
	}
	if err := w.begin(part); err != nil {
		return 0, err
	}
	n, err := w.body.Write(part)
	w.failed = err
	return n, err
}

// Flush sends what was written so far.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is Flush, for http.ResponseController.
func (w *writer) FlushError() error {
	if err := w.begin(nil); err != nil {
		return err
	}
	return w.body.Flush()
}

// begin sends the head, and what was held back.
func (w *writer) begin(next []byte) error {
	if w.body != nil || w.failed != nil {
		return w.failed
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	held := w.buffer.Bytes()
	_, typed := w.header["Content-Type"]
	if !typed && len(held)+len(next) > 0 {
		beginning := append(append(make([]byte, 0, 512), held...), next[:min(len(next), 512)]...)
		w.header.Set("Content-Type", http.DetectContentType(beginning))
	}
	if w.body, w.failed = wasi.Respond(w.param, w.status, w.header); w.failed != nil {
		return w.failed
	}
	if len(held) > 0 {
		_, w.failed = w.body.Write(held)
		w.buffer.Reset()
	}
	return w.failed
}

// abort ends an answer that failed: by a status if there is time for it, else in the middle.
func (w *writer) abort() {
	w.aborted = true
	if w.body == nil {
		w.header, w.status = make(http.Header), http.StatusInternalServerError
		w.buffer.Reset()
		w.aborted = false
	}
}

// finish sends the rest.
func (w *writer) finish() {
	if w.body == nil && hasBody(w.status) && !w.isHead && w.header.Get("Content-Length") == "" {
		w.header.Set("Content-Length", strconv.Itoa(w.buffer.Len()))
	}
	if err := w.begin(nil); err != nil {
		if w.body == nil {
			// Such as a header that is none: the one who asked gets to know, and the log says why.
			fmt.Fprintln(os.Stderr, "answer:", err)
			if w.body, err = wasi.Respond(w.param, http.StatusInternalServerError, nil); err != nil {
				return
			}
		} else {
			w.body.Break()
			return
		}
	}
	if w.aborted || w.body.Flush() != nil || w.body.Sent() != nil {
		w.body.Break()
		return
	}
	// Whoever asked may be gone by now.
	_ = w.body.Finish()
}

// hasBody says whether an answer of this status may have a body. Source: RFC 9110, 6.4.1.
func hasBody(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}
