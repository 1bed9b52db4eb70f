// Greets whom its argument names, and ends.
package main

import (
	"fmt"
	"os"
)

func main() {
	whom := "nobody"
	if len(os.Args) > 1 {
		whom = os.Args[1]
	}
	fmt.Printf("hello, %s\n", whom)
}
