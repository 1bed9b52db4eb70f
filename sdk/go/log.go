package coracle

import (
	"io"
	"log/slog"
	"strings"
)

// NewLogger gives a logger of one part of a program. Each message is a line of JSON in the container's log, with the keys that
// wasi:logging has: level, context and message.
//
//	log := coracle.NewLogger(os.Stderr, "cart")
//	log.Warn("the price is old", "cents", 450)
func NewLogger(to io.Writer, context string) *slog.Logger {
	rename := func(groups []string, attribute slog.Attr) slog.Attr {
		if len(groups) > 0 {
			return attribute
		}
		switch attribute.Key {
		case slog.MessageKey:
			attribute.Key = "message"
		case slog.LevelKey:
			attribute.Value = slog.StringValue(strings.ToLower(attribute.Value.String()))
		}
		return attribute
	}
	handler := slog.NewJSONHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: rename})
	return slog.New(handler).With("context", context)
}
