// Greets who is named first, reads the file that is named second, and ends with the code that is third.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

func main() {
	text, err := os.ReadFile(os.Args[2])
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	words := make(chan string)
	go func() { words <- strings.TrimSpace(string(text)) }()
	fmt.Printf("hello from Go, %s: %s\n", os.Args[1], <-words)
	code, _ := strconv.Atoi(os.Args[3])
	os.Exit(code)
}
