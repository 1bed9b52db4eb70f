// Package gateway runs the Gateway API's own conformance suite, in the version that go.mod names, with stand-ins in
// place of its images.
package gateway

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"regexp"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

// image is a line of a manifest that names an image: its registry and folders go, its name and tag stay.
var image = regexp.MustCompile(`(?m)^(\s*image:\s*)\S*/([^/\s]+)$`)

// manifests are the suite's, but for the registry of their images.
type manifests struct {
	inner    fs.FS
	registry string
}

// file is one of them.
type file struct {
	fs.File
	text *bytes.Reader
}

func (m manifests) Open(name string) (fs.File, error) {
	opened, err := m.inner.Open(name)
	if err != nil {
		return nil, err
	}
	about, err := opened.Stat()
	if err != nil || about.IsDir() {
		return opened, err
	}
	text, err := io.ReadAll(opened)
	if err != nil {
		return nil, err
	}
	text = image.ReplaceAll(text, []byte("${1}"+m.registry+"/${2}"))
	return file{opened, bytes.NewReader(text)}, nil
}

func (f file) Read(into []byte) (int, error) {
	return f.text.Read(into)
}

func TestGateway(t *testing.T) {
	options := conformance.DefaultOptions(t)
	if registry := os.Getenv("IMAGE_REGISTRY"); registry != "" {
		options.ManifestFS = []fs.FS{manifests{&conformance.Manifests, registry}}
	}
	conformance.RunConformanceWithOptions(t, options)
}
