// Package coracle has what guests of Coracle in Go need beyond the standard library: configuration that may change while
// they run, and log lines as every guest of Coracle writes them.
package coracle

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config is the files of a mounted ConfigMap or Secret, one file a key, as they were when they were last read. It is not
// safe for use by several goroutines at once.
type Config struct {
	folder string
	values map[string]string
}

// ReadConfig reads a folder. Hidden files are left out: they are the mount's own.
func ReadConfig(folder string) (*Config, error) {
	values, err := read(folder)
	if err != nil {
		return nil, err
	}
	return &Config{folder, values}, nil
}

func read(folder string) (map[string]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string)
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		// What a mount has are links, so it is asked what they lead to.
		about, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(entry.Name(), ".") || !about.Mode().IsRegular() {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		values[entry.Name()] = string(text)
	}
	return values, nil
}

// Get gives a value, and whether there is one.
func (c *Config) Get(key string) (string, bool) {
	value, found := c.values[key]
	return value, found
}

// Keys gives the keys, sorted.
func (c *Config) Keys() []string {
	return slices.Sorted(maps.Keys(c.values))
}

// Reread reads the folder again, and says whether a value is another one. A mount changes as a whole. After an error the
// values are as they were.
func (c *Config) Reread() (bool, error) {
	values, err := read(c.folder)
	if err != nil {
		return false, err
	}
	changed := !maps.Equal(values, c.values)
	c.values = values
	return changed, nil
}

// Changed waits until a value is another one, looking as often as every says; it ends with the context's error when that
// is done.
func (c *Config) Changed(ctx context.Context, every time.Duration) error {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		changed, err := c.Reread()
		if changed || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}
