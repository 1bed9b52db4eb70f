//go:build wasip1

package wasi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"unsafe"
)

//go:wasmimport wasi:http/types@0.2.0 [constructor]fields
func fieldsNew() uint32

//go:wasmimport wasi:http/types@0.2.0 [method]fields.append
func fieldsAppend(self uint32, name unsafe.Pointer, nameLength uint32, value unsafe.Pointer, valueLength uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [method]fields.entries
func fieldsEntries(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]fields
func fieldsDrop(self uint32)

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-request.method
func requestMethod(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-request.path-with-query
func requestPath(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-request.authority
func requestAuthority(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-request.headers
func requestHeaders(self uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-request.consume
func requestConsume(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]incoming-request
func requestDrop(self uint32)

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-body.stream
func incomingStream(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]incoming-body
func incomingDrop(self uint32)

//go:wasmimport wasi:http/types@0.2.0 [constructor]outgoing-response
func responseNew(headers uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-response.set-status-code
func responseSetStatus(self uint32, code uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-response.body
func responseBody(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-body.write
func outgoingWrite(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [static]outgoing-body.finish
func outgoingFinish(this uint32, hasTrailers uint32, trailers uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]outgoing-body
func outgoingDrop(self uint32)

//go:wasmimport wasi:http/types@0.2.0 [static]response-outparam.set
func outparamSet(param uint32, isError uint32, response uint32, a uint32, b uint64, c uint32, d uint32, e uint32, f uint32)

//go:wasmimport wasi:http/types@0.2.0 [constructor]outgoing-request
func outgoingRequestNew(headers uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-request.set-method
func setMethod(self uint32, method uint32, other unsafe.Pointer, otherLength uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-request.set-path-with-query
func setPath(self uint32, isSome uint32, path unsafe.Pointer, length uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-request.set-scheme
func setScheme(self uint32, isSome uint32, scheme uint32, other unsafe.Pointer, length uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-request.set-authority
func setAuthority(self uint32, isSome uint32, authority unsafe.Pointer, length uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]outgoing-request.body
func outgoingRequestBody(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]outgoing-request
func outgoingRequestDrop(self uint32)

//go:wasmimport wasi:http/outgoing-handler@0.2.0 handle
func handleOutgoing(request uint32, hasOptions uint32, options uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [method]future-incoming-response.subscribe
func futureSubscribe(self uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]future-incoming-response.get
func futureGet(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]future-incoming-response
func futureDrop(self uint32)

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-response.status
func responseStatus(self uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-response.headers
func responseHeaders(self uint32) uint32

//go:wasmimport wasi:http/types@0.2.0 [method]incoming-response.consume
func responseConsume(self uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.0 [resource-drop]incoming-response
func responseDrop(self uint32)

// headMax is what there is room for of a head: twice the host's limit of 64 KiB, with the lists around it.
const headMax = 256 << 10

// lineMax is what there is room for of a line of a head.
const lineMax = 64 << 10

// methods are those that have a number of their own, in its order.
var methods = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// hopHeaders are about one connection: the host writes them.
var hopHeaders = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Transfer-Encoding": true,
	"Upgrade": true, "Host": true, "Te": true, "Trailer": true,
}

// readFields copies headers, and drops them.
func readFields(fields uint32) http.Header {
	var result results
	memory := lend(headMax)
	fieldsEntries(fields, unsafe.Pointer(&result))
	count := int(result.word(4))
	header := make(http.Header, count)
	if count > 0 {
		for _, entry := range unsafe.Slice((*[4]uint32)(pointer(result.word(0))), count) {
			name := textproto.CanonicalMIMEHeaderKey(text(entry[0], entry[1]))
			header[name] = append(header[name], text(entry[2], entry[3]))
		}
	}
	keep(memory)
	fieldsDrop(fields)
	return header
}

// writeFields makes headers.
func writeFields(header http.Header) (uint32, error) {
	fields := fieldsNew()
	for name, values := range header {
		if hopHeaders[name] {
			continue
		}
		for _, value := range values {
			at, length := lower(name)
			valueAt, valueLength := lower(value)
			var result results
			fieldsAppend(fields, at, length, valueAt, valueLength, unsafe.Pointer(&result))
			if result.byte(0) == 1 {
				fieldsDrop(fields)
				return 0, fmt.Errorf("header %s: not a valid name or value: %q", name, value)
			}
		}
	}
	return fields, nil
}

// A Request is what somebody asks of this component.
type Request struct {
	Method, Path, Authority string
	Header                  http.Header
	handle                  uint32
	consumed                bool
}

// ReadRequest takes a request over.
func ReadRequest(handle uint32) *Request {
	var result results
	memory := lend(lineMax)
	requestMethod(handle, unsafe.Pointer(&result))
	request := &Request{handle: handle}
	if method := int(result.byte(0)); method < len(methods) {
		request.Method = methods[method]
	} else {
		request.Method = text(result.word(4), result.word(8))
	}
	keep(memory)
	if request.Path = optionalText(func(result *results) { requestPath(handle, unsafe.Pointer(result)) }); request.Path == "" {
		request.Path = "/"
	}
	request.Authority = optionalText(func(result *results) { requestAuthority(handle, unsafe.Pointer(result)) })
	request.Header = readFields(requestHeaders(handle))
	return request
}

func optionalText(ask func(*results)) string {
	result := new(results)
	memory := lend(lineMax)
	ask(result)
	said := ""
	if result.byte(0) == 1 {
		said = text(result.word(4), result.word(8))
	}
	keep(memory)
	return said
}

// Body gives the body, once.
func (request *Request) Body() (io.ReadCloser, error) {
	if request.consumed {
		return nil, errors.New("the body was taken before")
	}
	request.consumed = true
	return body(func(result *results) { requestConsume(request.handle, unsafe.Pointer(result)) })
}

// Drop gives the request back; what came of its body stays.
func (request *Request) Drop() { requestDrop(request.handle) }

// An incoming is a body that comes in.
type incoming struct {
	stream Input
	handle uint32
	open   bool
}

func body(consume func(*results)) (io.ReadCloser, error) {
	taken := new(results)
	consume(taken)
	if taken.byte(0) == 1 {
		return nil, errors.New("the body was taken before")
	}
	stream := new(results)
	incomingStream(taken.word(4), unsafe.Pointer(stream))
	if stream.byte(0) == 1 {
		incomingDrop(taken.word(4))
		return nil, errors.New("the body was taken before")
	}
	return &incoming{Input(stream.word(4)), taken.word(4), true}, nil
}

func (b *incoming) Read(into []byte) (int, error) {
	if !b.open {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.stream.Read(into)
}

func (b *incoming) Close() error {
	if b.open {
		b.open = false
		b.stream.Drop()
		incomingDrop(b.handle)
	}
	return nil
}

// An Outgoing is a body that goes out.
type Outgoing struct {
	Output
	handle uint32
}

func outgoing(take func(*results)) (*Outgoing, error) {
	taken, stream := new(results), new(results)
	take(taken)
	if taken.byte(0) == 1 {
		return nil, errors.New("the body was taken before")
	}
	outgoingWrite(taken.word(4), unsafe.Pointer(stream))
	if stream.byte(0) == 1 {
		outgoingDrop(taken.word(4))
		return nil, errors.New("the body was taken before")
	}
	return &Outgoing{Output(stream.word(4)), taken.word(4)}, nil
}

// Finish says that the body is whole.
func (b *Outgoing) Finish() error {
	b.Output.Drop()
	var result results
	memory := lend(errorTextMax)
	outgoingFinish(b.handle, 0, 0, unsafe.Pointer(&result))
	defer keep(memory)
	if result.byte(0) == 1 {
		return errorCode(&result, 8)
	}
	return nil
}

// Break says that the body will never be whole.
func (b *Outgoing) Break() {
	b.Output.Drop()
	outgoingDrop(b.handle)
}

// Respond begins the answer to whoever holds the other end of param.
func Respond(param uint32, status int, header http.Header) (*Outgoing, error) {
	fields, err := writeFields(header)
	if err != nil {
		return nil, err
	}
	response := responseNew(fields)
	if responseSetStatus(response, uint32(status)) != 0 {
		return nil, fmt.Errorf("not a status: %d", status)
	}
	body, err := outgoing(func(result *results) { responseBody(response, unsafe.Pointer(result)) })
	if err != nil {
		return nil, err
	}
	outparamSet(param, 0, response, 0, 0, 0, 0, 0, 0)
	return body, nil
}

// Send asks somebody else, and gives the answer as soon as its head is there. It closes the request's body.
func Send(request *http.Request) (*http.Response, error) {
	sending := false
	defer func() {
		if request.Body != nil && !sending {
			request.Body.Close()
		}
	}()
	handle, err := outgoingRequest(request)
	if err != nil {
		return nil, err
	}
	var out *Outgoing
	if request.Body != nil && request.Body != http.NoBody {
		if out, err = outgoing(func(result *results) { outgoingRequestBody(handle, unsafe.Pointer(result)) }); err != nil {
			outgoingRequestDrop(handle)
			return nil, err
		}
	}
	result := new(results)
	memory := lend(errorTextMax)
	handleOutgoing(handle, 0, 0, unsafe.Pointer(result))
	if result.byte(0) == 1 {
		err := errorCode(result, 8)
		keep(memory)
		if out != nil {
			out.Break()
		}
		return nil, err
	}
	keep(memory)
	future := result.word(8)
	if out != nil {
		// An answer may begin before the request is whole.
		sending = true
		go send(out, request.Body)
	}
	defer futureDrop(future)
	if err := WaitFor(request.Context(), futureSubscribe(future)); err != nil {
		return nil, err
	}
	return answer(request, future)
}

func send(out *Outgoing, body io.ReadCloser) {
	defer body.Close()
	if _, err := io.Copy(out.Output, body); err != nil {
		out.Break()
		return
	}
	if out.Flush() == nil && out.Sent() == nil {
		_ = out.Finish()
		return
	}
	out.Break()
}

func outgoingRequest(request *http.Request) (uint32, error) {
	header := request.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	if request.ContentLength > 0 && header.Get("Content-Length") == "" {
		header.Set("Content-Length", fmt.Sprint(request.ContentLength))
	}
	if _, ok := header["User-Agent"]; !ok {
		header.Set("User-Agent", "Go-http-client/1.1")
	}
	fields, err := writeFields(header)
	if err != nil {
		return 0, err
	}
	handle := outgoingRequestNew(fields)
	authority := request.Host
	if authority == "" {
		authority = request.URL.Host
	}
	if err := setTarget(handle, request, authority); err != nil {
		outgoingRequestDrop(handle)
		return 0, err
	}
	return handle, nil
}

func setTarget(handle uint32, request *http.Request, authority string) error {
	method, other := uint32(len(methods)), request.Method
	if other == "" {
		other = "GET"
	}
	for number, name := range methods {
		if name == other {
			method = uint32(number)
		}
	}
	at, length := lower(other)
	if setMethod(handle, method, at, length) != 0 {
		return fmt.Errorf("not a method: %q", request.Method)
	}
	scheme := uint32(0)
	if request.URL.Scheme == "https" {
		scheme = 1
	} else if request.URL.Scheme != "http" {
		return fmt.Errorf("unsupported protocol scheme %q", request.URL.Scheme)
	}
	if setScheme(handle, 1, scheme, nil, 0) != 0 {
		return fmt.Errorf("not a scheme: %q", request.URL.Scheme)
	}
	// The connection goes to the URL's host; the name in the request is the same unless the caller sets it.
	if authority != request.URL.Host {
		return fmt.Errorf("host %q: must be that of the URL, %q", authority, request.URL.Host)
	}
	at, length = lower(authority)
	if setAuthority(handle, 1, at, length) != 0 {
		return fmt.Errorf("not a host: %q", authority)
	}
	path := request.URL.RequestURI()
	at, length = lower(path)
	if setPath(handle, 1, at, length) != 0 {
		return fmt.Errorf("not a path: %q", path)
	}
	return nil
}

// answer reads the head of what came.
func answer(request *http.Request, future uint32) (*http.Response, error) {
	result := new(results)
	memory := lend(errorTextMax)
	futureGet(future, unsafe.Pointer(result))
	if result.byte(0) == 0 || result.byte(8) == 1 {
		return nil, errors.New("the answer was taken before")
	}
	if result.byte(16) == 1 {
		err := errorCode(result, 24)
		keep(memory)
		return nil, err
	}
	keep(memory)
	handle := result.word(24)
	defer responseDrop(handle)
	code := int(responseStatus(handle))
	header := readFields(responseHeaders(handle))
	content, err := body(func(result *results) { responseConsume(handle, unsafe.Pointer(result)) })
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", code, http.StatusText(code)), StatusCode: code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: &bound{request.Context(), content}, ContentLength: Length(header), Request: request,
	}, nil
}

// Length is what a header says of the body's length; -1 when it says nothing.
func Length(header http.Header) int64 {
	var length int64
	if _, err := fmt.Sscan(header.Get("Content-Length"), &length); err != nil || length < 0 {
		return -1
	}
	return length
}

// A bound is a body that ends with its context.
type bound struct {
	ctx context.Context
	io.ReadCloser
}

func (b *bound) Read(into []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(into)
}

// codes are the names of `error-code`, in its order.
var codes = [...]string{
	"DNS timeout", "DNS error", "destination not found", "destination unavailable", "destination IP prohibited",
	"destination IP unroutable", "connection refused", "connection terminated", "connection timeout",
	"connection read timeout", "connection write timeout", "connection limit reached", "TLS protocol error",
	"TLS certificate error", "TLS alert received", "request denied", "request length required",
	"request body size", "request method invalid", "request URI invalid", "request URI too long",
	"request header section size", "request header size", "request trailer section size",
	"request trailer size", "response incomplete", "response header section size", "response header size",
	"response body size", "response trailer section size", "response trailer size",
	"response transfer coding", "response content coding", "response timeout", "upgrade failed",
	"protocol error", "loop detected", "configuration error", "internal error",
}

// errorCode reads an `error-code` that begins at a word.
func errorCode(r *results, at int) error {
	code := int(r.byte(at))
	if code >= len(codes) {
		return fmt.Errorf("error %d", code)
	}
	// The last one may say more: an option of a string.
	if code == len(codes)-1 && r.byte(at+8) == 1 {
		return fmt.Errorf("%s: %s", codes[code], text(r.word(at+12), r.word(at+16)))
	}
	return errors.New(codes[code])
}
