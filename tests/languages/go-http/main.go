// A program on the SDK for Go that tries what it has: each path is a part of it.
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"coracle.dev/sdk/config"
	"coracle.dev/sdk/kube"
	"coracle.dev/sdk/kv"
	"coracle.dev/sdk/log"
	"coracle.dev/sdk/serve"
)

func init() {
	slog.SetDefault(slog.New(log.Handler("go", slog.LevelInfo)))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /asked", func(w http.ResponseWriter, r *http.Request) {
		slog.Info("asked", "for", r.URL.Query().Get("for"))
		fmt.Fprintf(w, "hello from Go, %s\n", os.Getenv("NAME"))
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		if _, err := io.Copy(w, r.Body); err != nil {
			slog.Error("echo", "error", err)
		}
	})
	mux.HandleFunc("GET /note", failing(note))
	mux.HandleFunc("GET /count", failing(count))
	mux.HandleFunc("GET /pods", failing(pods))
	mux.HandleFunc("GET /both", failing(both))
	mux.HandleFunc("GET /heap", failing(heap))
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("as asked") })
	serve.HTTP(mux)
}

func main() {}

// failing answers what a function says, or its error.
func failing(work func(*http.Request) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		said, err := work(r)
		var refused *kube.Error
		switch {
		case errors.As(err, &refused):
			http.Error(w, err.Error(), refused.Code)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			fmt.Fprint(w, said)
		}
	}
}

// note reads a mounted ConfigMap.
func note(*http.Request) (string, error) {
	notes, err := config.Open("/etc/notes")
	if err != nil {
		return "", err
	}
	return notes.Get("note", "none"), nil
}

// count counts up, and gives its own key back.
func count(*http.Request) (string, error) {
	bucket, err := kv.Open("counts")
	if err != nil {
		return "", err
	}
	defer bucket.Close()
	if err := bucket.Set("of", []byte("5")); err != nil {
		return "", err
	}
	sum, err := bucket.Increment("of", 2)
	if err != nil {
		return "", err
	}
	value, err := bucket.Get("of")
	if err != nil {
		return "", err
	}
	nothing, err := bucket.Get("other")
	if err != nil || nothing != nil {
		return "", fmt.Errorf("a key that is not there gave %q: %w", nothing, err)
	}
	var keys []string
	for key, err := range bucket.Keys() {
		if err != nil {
			return "", err
		}
		keys = append(keys, key)
	}
	return fmt.Sprintf("%d %s %s\n", sum, value, keys), nil
}

// pods asks the API.
func pods(r *http.Request) (string, error) {
	client, err := kube.InCluster()
	if err != nil {
		return "", err
	}
	var pods kube.List[kube.Object]
	if err := client.Get(r.Context(), "/api/v1/namespaces/"+client.Namespace+"/pods", &pods); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d pods\n", len(pods.Items)), nil
}

// both asks this program's own Service twice at once, while a third goroutine waits for the time. The Service has the name of
// the pod, which by itself is the pod.
func both(*http.Request) (string, error) {
	var group sync.WaitGroup
	said := make([]string, 3)
	for i, ask := range []string{"http://go-http.default.svc/asked", "http://go-http.default.svc/echo"} {
		group.Add(1)
		go func() {
			defer group.Done()
			said[i] = answer(ask)
		}()
	}
	group.Add(1)
	go func() {
		defer group.Done()
		time.Sleep(time.Millisecond)
		said[2] = "slept"
	}()
	group.Wait()
	return strings.Join(said, "; ") + "\n", nil
}

func answer(from string) string {
	var response *http.Response
	var err error
	if strings.HasSuffix(from, "/echo") {
		response, err = http.Post(from, "text/plain", strings.NewReader(strings.Repeat("echo ", 50_000)))
	} else {
		response, err = http.Get(from)
	}
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %d %s", response.StatusCode, len(text), strings.TrimSpace(string(text[:min(len(text), 14)])))
}

// heap fills more memory than a program begins with, and looks whether it stays so.
func heap(*http.Request) (string, error) {
	var blocks [][]byte
	for i := range 32 {
		block := make([]byte, 1<<20)
		for at := range block {
			block[at] = byte(i)
		}
		blocks = append(blocks, block)
		// A call of the adapter, whose memory lies beside this.
		if _, err := os.Stat("/etc/notes/note"); err != nil {
			return "", err
		}
	}
	for i, block := range blocks {
		for _, b := range block {
			if b != byte(i) {
				return "", fmt.Errorf("block %d has %d", i, b)
			}
		}
	}
	return fmt.Sprintf("%d blocks\n", len(blocks)), nil
}
