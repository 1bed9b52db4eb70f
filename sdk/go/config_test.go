package coracle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func write(t *testing.T, folder, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAConfigIsReadAgain(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "title", "one")
	write(t, folder, ".hidden", "x")
	if err := os.Mkdir(filepath.Join(folder, "deeper"), 0o700); err != nil {
		t.Fatal(err)
	}
	config, err := ReadConfig(folder)
	if err != nil {
		t.Fatal(err)
	}
	if keys := config.Keys(); !slices.Equal(keys, []string{"title"}) {
		t.Fatal(keys)
	}
	if changed, err := config.Reread(); changed || err != nil {
		t.Fatal(changed, err)
	}
	write(t, folder, "title", "two")
	if err := config.Changed(context.Background(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if title, _ := config.Get("title"); title != "two" {
		t.Fatal(title)
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if err := config.Changed(done, time.Hour); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := ReadConfig(filepath.Join(folder, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}
