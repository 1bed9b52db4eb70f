//go:build wasip1

// Package fetch lets net/http ask others: standard Go for WASI has no sockets, so the host does it.
//
// Importing it is enough for http.Get and every client without a transport of its own:
//
//	import _ "coracle.dev/sdk/fetch"
//
// Names are those of the cluster and, where the pod's egress annotations grant it, of the world. Requests of
// several goroutines are under way at once; a request ends with its context. TLS is the host's: it trusts what
// the pod's SSL_CERT_FILE names, and Go's TLS settings have no effect.
package fetch

import (
	"net/http"

	"coracle.dev/sdk/internal/wasi"
)

// Transport is an http.RoundTripper that asks through the host. It has no state.
type Transport struct{}

// RoundTrip asks, and gives the answer as soon as its head is there. The caller closes its body.
func (Transport) RoundTrip(request *http.Request) (*http.Response, error) { return wasi.Send(request) }

func init() { http.DefaultTransport = Transport{} }
