package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"coracle.dev/sdk/config"
)

func TestAFolderSaysWhenAValueIsAnotherOne(t *testing.T) {
	path := t.TempDir()
	put := func(name, value string) {
		if err := os.WriteFile(filepath.Join(path, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("title", "first")
	put(".hidden", "the mount's own")
	folder, err := config.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if all := folder.All(); len(all) != 1 || all["title"] != "first" {
		t.Fatal(all)
	}
	if changed, err := folder.Reread(); changed || err != nil {
		t.Fatal(changed, err)
	}
	put("title", "second")
	if changed, err := folder.Reread(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if folder.Get("title", "") != "second" || folder.Get("size", "none") != "none" {
		t.Fatal(folder.All())
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Reread(); err == nil || folder.Get("title", "") != "second" {
		t.Fatal("a folder that is gone must be an error, and change nothing")
	}
}
