// Greets who is named first, reads the file that is named second, and ends with the code that is third; in between
// its heap grows far beyond what a program begins with.
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
	if !remembers(24) {
		os.Exit(4)
	}
	words := make(chan string)
	go func() { words <- strings.TrimSpace(string(text)) }()
	fmt.Printf("hello from Go, %s: %s\n", os.Args[1], <-words)
	code, _ := strconv.Atoi(os.Args[3])
	os.Exit(code)
}

// remembers fills so many megabytes, with calls of the system in between, and says whether all of it stayed so.
func remembers(blocks int) bool {
	var all [][]byte
	for i := range blocks {
		block := make([]byte, 1<<20)
		for at := range block {
			block[at] = byte(i)
		}
		all = append(all, block)
		if _, err := os.Stat(os.Args[2]); err != nil {
			return false
		}
	}
	for i, block := range all {
		for _, b := range block {
			if b != byte(i) {
				return false
			}
		}
	}
	return true
}
