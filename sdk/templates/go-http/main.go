// Answers every request with a greeting.
package main

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"strings"

	"coracle.dev/sdk/serve"
)

func init() { serve.HTTP(http.HandlerFunc(greet)) }

func greet(w http.ResponseWriter, r *http.Request) {
	greeting := cmp.Or(os.Getenv("GREETING"), "hello")
	whom := strings.Trim(r.URL.Path, "/")
	fmt.Println("asked for", whom)
	fmt.Fprintf(w, "%s from {{name}}, %s\n", greeting, whom)
}

// An http component is called for each request: there is nothing to begin with.
func main() {}
