// Client libraries in Go as people use them, each against a cluster that a kubeconfig names.
// Fails with what was not seen in time.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Long enough for a loaded machine.
const patience = 3 * time.Minute

func main() {
	if len(os.Args) != 3 {
		fail("usage: clients KUBECONFIG informers|controller")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	check(err)
	// The server has its own ideas of fairness.
	config.QPS, config.Burst = 200, 200
	runs := map[string]func(*rest.Config){"informers": informers, "controller": controller}
	run, known := runs[os.Args[2]]
	if !known {
		fail("no such client: " + os.Args[2])
	}
	run(config)
	fmt.Println(os.Args[2] + ": ok")
}

// eventually waits until seen gives true; an error of it is told if that never comes.
func eventually(what string, seen func(context.Context) (bool, error)) {
	var last error
	err := wait.PollUntilContextTimeout(context.Background(), 50*time.Millisecond, patience, true,
		func(ctx context.Context) (bool, error) {
			ok, err := seen(ctx)
			last = err
			return ok, nil
		})
	if err != nil {
		fail(fmt.Sprintf("%s: %v, last error: %v", what, err, last))
	}
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}
