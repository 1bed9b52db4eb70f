// Package kube is a client of the cluster's API with the pod's own token.
//
//	client, err := kube.InCluster()
//	...
//	var pods kube.List[Pod]
//	err = client.Get(ctx, "/api/v1/namespaces/"+client.Namespace+"/pods", &pods)
//
// Objects are whatever encoding/json makes of the caller's types; kube.Object takes any. Paths are those of the
// API. The pod's manifest sets SSL_CERT_FILE to /var/run/secrets/kubernetes.io/serviceaccount/ca.crt; what the
// client may do is what a Role grants to its ServiceAccount.
package kube

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// account is where a pod finds its token and namespace. Source: Kubernetes, ServiceAccount admission.
const account = "/var/run/secrets/kubernetes.io/serviceaccount"

// Most bytes of an answer, and of one event of a watch: more than an object can have.
const (
	answerBytesMax = 64 << 20
	eventBytesMax  = 4 << 20
)

// Object is an object of any kind.
type Object = map[string]any

// A List is a collection of the API.
type List[T any] struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue,omitempty"`
	} `json:"metadata"`
	Items []T `json:"items"`
}

// An Error is the server's refusal.
type Error struct {
	// Code is the HTTP status, such as 403.
	Code int
	// Reason is Kubernetes' word for it, such as Forbidden.
	Reason string
	// Message is the server's sentence.
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// IsNotFound says whether err is that the object is not there.
func IsNotFound(err error) bool { return has(err, http.StatusNotFound) }

// IsConflict says whether err is that somebody else was faster.
func IsConflict(err error) bool { return has(err, http.StatusConflict) }

func has(err error, code int) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Code == code
}

// A Client asks with the rights of its token. It may be used by several goroutines.
type Client struct {
	// Namespace is the pod's own.
	Namespace string
	// Server is where the API is, such as https://kubernetes.default.svc.
	Server string
	// HTTP asks; nil is http.DefaultClient.
	HTTP *http.Client
	// Token gives the token for a request; it is renewed while the pod runs.
	Token func() (string, error)
}

// InCluster makes a client of the pod that this runs in. It fails where there is no token.
func InCluster() (*Client, error) {
	namespace, err := os.ReadFile(filepath.Join(account, "namespace"))
	if err != nil {
		return nil, fmt.Errorf("read the pod's token: %w", err)
	}
	token := func() (string, error) {
		token, err := os.ReadFile(filepath.Join(account, "token"))
		return strings.TrimSpace(string(token)), err
	}
	return &Client{
		Namespace: strings.TrimSpace(string(namespace)), Server: "https://kubernetes.default.svc", Token: token,
	}, nil
}

// Get reads an object or a list into what into points to.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, "", nil, into)
}

// Create makes a new object in a collection, and reads it back into what into points to, unless that is nil.
func (c *Client) Create(ctx context.Context, path string, object, into any) error {
	return c.do(ctx, http.MethodPost, path, "application/json", object, into)
}

// Apply makes an object so that it has these fields, as manager (server-side apply); others stay as they are.
func (c *Client) Apply(ctx context.Context, path, manager string, object, into any) error {
	path += "?fieldManager=" + url.QueryEscape(manager) + "&force=true"
	return c.do(ctx, http.MethodPatch, path, "application/apply-patch+yaml", object, into)
}

// Replace puts an object in the place of what is there, if that is still of the same resourceVersion; else the
// error is one of which IsConflict is true.
func (c *Client) Replace(ctx context.Context, path string, object, into any) error {
	return c.do(ctx, http.MethodPut, path, "application/json", object, into)
}

// Merge changes an object by a merge patch (RFC 7386).
func (c *Client) Merge(ctx context.Context, path string, patch, into any) error {
	return c.do(ctx, http.MethodPatch, path, "application/merge-patch+json", patch, into)
}

// Delete deletes an object, and in the background what it owns.
func (c *Client) Delete(ctx context.Context, path string) error {
	return c.do(ctx, http.MethodDelete, path, "", nil, nil)
}

func (c *Client) do(ctx context.Context, method, path, kind string, data, into any) error {
	answer, err := c.send(ctx, method, path, kind, data)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerBytesMax))
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// send asks, and gives an answer that is no refusal.
func (c *Client) send(ctx context.Context, method, path, kind string, data any) (*http.Response, error) {
	var body io.Reader
	if data != nil {
		text, err := json.Marshal(data)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.Server+path, body)
	if err != nil {
		return nil, err
	}
	token, err := c.Token()
	if err != nil {
		return nil, fmt.Errorf("read the pod's token: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 {
		defer answer.Body.Close()
		return nil, refusal(answer)
	}
	return answer, nil
}

func refusal(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, eventBytesMax))
	var status struct{ Reason, Message string }
	// Not every refusal is a Status.
	if json.Unmarshal(text, &status) != nil || status.Message == "" {
		status.Message = strings.TrimSpace(string(text))
	}
	return &Error{Code: answer.StatusCode, Reason: status.Reason, Message: status.Message}
}

// An Event is what became of an object of a collection.
type Event[T any] struct {
	// Deleted says that the object is gone, and was like this; else it is there like this.
	Deleted bool
	Object  T
}

// Watch follows a collection: first what is there, then each change, until the context is done or the server ends
// it, as it does now and then: begin again. The last pair has an error, unless the server ended it.
func Watch[T any](ctx context.Context, c *Client, path string) iter.Seq2[Event[T], error] {
	return func(yield func(Event[T], error) bool) {
		var list List[T]
		if err := c.Get(ctx, path, &list); err != nil {
			yield(Event[T]{}, err)
			return
		}
		for _, object := range list.Items {
			if !yield(Event[T]{Object: object}, nil) {
				return
			}
		}
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + "watch=true&resourceVersion=" + url.QueryEscape(list.Metadata.ResourceVersion)
		answer, err := c.send(ctx, http.MethodGet, path, "", nil)
		if err != nil {
			yield(Event[T]{}, err)
			return
		}
		defer answer.Body.Close()
		follow(answer.Body, yield)
	}
}

// follow reads the events of a watch, a line each.
func follow[T any](body io.Reader, yield func(Event[T], error) bool) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, eventBytesMax)
	for lines.Scan() {
		var event struct {
			Type   string
			Object json.RawMessage
		}
		err := json.Unmarshal(lines.Bytes(), &event)
		var object T
		switch {
		case err != nil:
		case event.Type == "ERROR":
			refused := &Error{Code: http.StatusInternalServerError}
			if err = json.Unmarshal(event.Object, refused); err == nil {
				err = refused
			}
		case event.Type == "ADDED" || event.Type == "MODIFIED" || event.Type == "DELETED":
			err = json.Unmarshal(event.Object, &object)
		default:
			// Bookmarks, and what there may be one day.
			continue
		}
		if !yield(Event[T]{event.Type == "DELETED", object}, err) || err != nil {
			return
		}
	}
	if err := lines.Err(); err != nil {
		yield(Event[T]{}, err)
	}
}
