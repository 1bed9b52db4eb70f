//go:build wasip1

// Package log gives log/slog a handler that says the level to the host: wasi:logging, which is a draft.
//
//	slog.SetDefault(slog.New(log.Handler("shop", slog.LevelInfo)))
//	slog.Info("sold", "item", 7)
//
// The container's log has the level and the text, and the collector of logs the level as a field.
package log

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"

	"coracle.dev/sdk/internal/wasi"
)

// Handler writes records of at least this level; the context names what part of the program they are from.
func Handler(context string, least slog.Leveler) slog.Handler {
	text := &scratch{}
	leave := func(groups []string, attr slog.Attr) slog.Attr {
		// The host writes the time and the level.
		if len(groups) == 0 && (attr.Key == slog.TimeKey || attr.Key == slog.LevelKey || attr.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return attr
	}
	attrs := slog.NewTextHandler(&text.buffer, &slog.HandlerOptions{Level: least, ReplaceAttr: leave})
	return &handler{context, text, attrs}
}

// A scratch is where attributes are formatted, by all handlers that come of one.
type scratch struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

type handler struct {
	context string
	text    *scratch
	attrs   slog.Handler
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.attrs.Enabled(ctx, level)
}

func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	h.text.mutex.Lock()
	defer h.text.mutex.Unlock()
	h.text.buffer.Reset()
	if err := h.attrs.Handle(ctx, record); err != nil {
		return err
	}
	message := record.Message
	if attrs := strings.TrimSpace(h.text.buffer.String()); attrs != "" {
		message += " " + attrs
	}
	wasi.Log(level(record.Level), h.context, message)
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.context, h.text, h.attrs.WithAttrs(attrs)}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.context, h.text, h.attrs.WithGroup(name)}
}

// level is the host's number of a level.
func level(of slog.Level) uint32 {
	switch {
	case of < slog.LevelDebug:
		return 0
	case of < slog.LevelInfo:
		return 1
	case of < slog.LevelWarn:
		return 2
	case of < slog.LevelError:
		return 3
	default:
		return 4
	}
}
