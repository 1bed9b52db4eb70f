// Greets who is named first, reads the file that is named second, and ends with the code that is third; with `sdk/go`.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	coracle "coracle.dev/sdk"
)

func main() {
	config, err := coracle.ReadConfig(filepath.Dir(os.Args[2]))
	if err != nil {
		coracle.NewLogger(os.Stdout, "notes").Error(err.Error())
		os.Exit(3)
	}
	text, _ := config.Get(filepath.Base(os.Args[2]))
	words := make(chan string)
	go func() { words <- strings.TrimSpace(text) }()
	fmt.Printf("hello from Go, %s: %s\n", os.Args[1], <-words)
	code, _ := strconv.Atoi(os.Args[3])
	os.Exit(code)
}
