// Package config reads configuration that may change while the program runs: the files of a mounted ConfigMap
// or Secret.
package config

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// A Folder is a mount's values, one file a key, as they were when they were last read. It may be used by several
// goroutines.
type Folder struct {
	path   string
	mutex  sync.Mutex
	values map[string]string
}

// Open reads a folder. Hidden files are left out: they are the mount's own.
func Open(path string) (*Folder, error) {
	values, err := read(path)
	if err != nil {
		return nil, err
	}
	return &Folder{path: path, values: values}, nil
}

// Get gives a key's value; the fallback if there is none.
func (f *Folder) Get(key, fallback string) string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if value, ok := f.values[key]; ok {
		return value
	}
	return fallback
}

// All gives a copy of all values, by key.
func (f *Folder) All() map[string]string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return maps.Clone(f.values)
}

// Reread reads the folder again, and says whether a value is another one. A mount changes as a whole. After an
// error the values are those from before.
func (f *Folder) Reread() (changed bool, err error) {
	values, err := read(f.path)
	if err != nil {
		return false, err
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	changed = !maps.Equal(f.values, values)
	f.values = values
	return changed, nil
}

func read(path string) (map[string]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		// Of a mounted ConfigMap these are links.
		file := filepath.Join(path, entry.Name())
		if about, err := os.Stat(file); err != nil || !about.Mode().IsRegular() {
			continue
		}
		value, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		values[entry.Name()] = string(value)
	}
	return values, nil
}
