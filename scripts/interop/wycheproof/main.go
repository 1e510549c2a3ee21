// Writes Wycheproof's vectors for JSON Web Signatures to standard output: they are published as a Go module, and only so.
package main

import (
	"io/fs"
	"log"
	"os"

	"github.com/c2sp/wycheproof"
)

func main() {
	vectors, err := fs.ReadFile(wycheproof.TestVectors, "json_web_signature_test.json")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := os.Stdout.Write(vectors); err != nil {
		log.Fatal(err)
	}
}
