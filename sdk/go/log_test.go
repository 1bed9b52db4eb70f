package coracle

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestALineHasTheKeysOfWasiLogging(t *testing.T) {
	var line bytes.Buffer
	NewLogger(&line, "cart").Warn("old", "cents", 450)
	var said struct {
		Level, Message, Context string
		Cents                   int
	}
	if err := json.Unmarshal(line.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	if said.Level != "warn" || said.Message != "old" || said.Context != "cart" || said.Cents != 450 {
		t.Fatal(line.String())
	}
}
