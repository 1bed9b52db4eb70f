package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"coracle.dev/sdk/kube"
)

type pod struct {
	Metadata struct{ Name string } `json:"metadata"`
}

// server answers as an API server does, and tells what it was asked.
func server(t *testing.T, answer http.HandlerFunc) *kube.Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	token := func() (string, error) { return "secret", nil }
	return &kube.Client{Namespace: "default", Server: server.URL, Token: token}
}

func TestObjectsAreReadAndWritten(t *testing.T) {
	client := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "who is this", http.StatusUnauthorized)
			return
		}
		body, _ := io.ReadAll(r.Body)
		text, _ := json.Marshal(fmt.Sprintf("%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Content-Type"), body))
		fmt.Fprintf(w, `{"metadata":{"name":%s}}`, text)
	})
	ctx := context.Background()
	for _, test := range []struct {
		do   func(into any) error
		want string
	}{
		{func(into any) error { return client.Get(ctx, "/api/v1/pods/a", into) }, "GET /api/v1/pods/a  "},
		{
			func(into any) error { return client.Create(ctx, "/pods", kube.Object{"a": 1}, into) },
			`POST /pods application/json {"a":1}`,
		},
		{
			func(into any) error { return client.Apply(ctx, "/pods/a", "me & you", kube.Object{}, into) },
			"PATCH /pods/a?fieldManager=me+%26+you&force=true application/apply-patch+yaml {}",
		},
		{
			func(into any) error { return client.Merge(ctx, "/pods/a", kube.Object{}, into) },
			"PATCH /pods/a application/merge-patch+json {}",
		},
	} {
		var got pod
		if err := test.do(&got); err != nil || got.Metadata.Name != test.want {
			t.Errorf("%q, not %q (%v)", got.Metadata.Name, test.want, err)
		}
	}
	if err := client.Delete(ctx, "/pods/a"); err != nil {
		t.Error(err)
	}
}

func TestARefusalSaysWhy(t *testing.T) {
	client := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/plain" {
			http.Error(w, "no", http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind":"Status","reason":"NotFound","message":"pods \"a\" not found"}`)
	})
	err := client.Get(context.Background(), "/api/v1/pods/a", new(pod))
	if !kube.IsNotFound(err) || err.Error() != `pods "a" not found (404)` {
		t.Error(err)
	}
	if err := client.Get(context.Background(), "/plain", new(pod)); !kube.IsConflict(err) || err.Error() != "no (409)" {
		t.Error(err)
	}
}

func TestAWatchTellsWhatIsThereAndWhatChanges(t *testing.T) {
	client := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			fmt.Fprint(w, `{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}}]}`)
			return
		}
		if r.URL.Query().Get("resourceVersion") != "7" || r.URL.Query().Get("labelSelector") != "x" {
			http.Error(w, r.RequestURI, http.StatusBadRequest)
			return
		}
		for _, kind := range []string{"BOOKMARK", "ADDED", "MODIFIED", "DELETED"} {
			fmt.Fprintf(w, `{"type":%q,"object":{"metadata":{"name":%q}}}`+"\n", kind, kind)
		}
		fmt.Fprintln(w, `{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}`)
	})
	var seen []string
	for event, err := range kube.Watch[pod](context.Background(), client, "/api/v1/pods?labelSelector=x") {
		seen = append(seen, fmt.Sprint(event.Deleted, event.Object.Metadata.Name, err))
	}
	want := "[falsea<nil> falseADDED<nil> falseMODIFIED<nil> trueDELETED<nil> falsetoo old (410)]"
	if got := fmt.Sprint(seen); got != want {
		t.Errorf("%s, not %s", got, want)
	}
}
