package adminui

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// maxDecoded is the size of arguments, in bytes, beyond which it is only said how
// large they are.
const maxDecoded = 64 << 10

// received returns the arguments of an event of a client, as far as they are
// shown: the event's name and its arguments, as JSON.
func (a *Admin) received(event string, args core.Args) []byte {
	if size := args.Size(); size > maxDecoded {
		a.counts.cut.Add(1)
		return a.excerpt(event, 1, func(int) ([]byte, error) { return quote(fmt.Sprintf("… %d bytes", size)), nil })
	}
	return a.excerpt(event, args.Len(), func(i int) ([]byte, error) { return args.Raw(i).MarshalJSON() })
}

// sent is received for an event that was sent.
func (a *Admin) sent(event string, args []any) []byte {
	if len(args) == 1 {
		if passed, ok := args[0].(core.Args); ok {
			return a.received(event, passed)
		}
	}
	return a.excerpt(event, len(args), func(i int) ([]byte, error) { return json.Marshal(args[i]) })
}

// excerpt writes an array of the event's name and n arguments. Those that are
// beyond Options.MaxArgsBytes are cut off.
func (a *Admin) excerpt(event string, n int, value func(i int) ([]byte, error)) []byte {
	room := a.options.MaxArgsBytes
	dst := append([]byte{'['}, quote(cut(event, maxValue))...)
	for i := range n {
		if room <= 0 {
			a.counts.cut.Add(1)
			dst = append(append(dst, ','), quote(fmt.Sprintf("… %d more", n-i))...)
			break
		}
		text, err := value(i)
		switch {
		case err != nil:
			text = quote("not shown: " + cut(err.Error(), maxValue))
		case len(text) > room:
			a.counts.cut.Add(1)
			text = quote(shorten(text, room))
			room = 0
		default:
			room -= len(text)
		}
		dst = append(append(dst, ','), text...)
	}
	return append(dst, ']')
}

// raw makes JSON something that any codec can send.
func raw(text []byte) codec.Raw {
	var r codec.Raw
	_ = r.UnmarshalJSON([]byte(strings.ToValidUTF8(string(text), "�"))) // it copies, and does not fail
	return r
}

// shorten returns the beginning of a text and says how long it was.
func shorten(text []byte, n int) string {
	return cut(string(text), n) + fmt.Sprintf(" (cut off, %d bytes in all)", len(text))
}

// cut returns the first n bytes of a text, and an ellipsis if there are more.
func cut(text string, n int) string {
	if len(text) <= n {
		return strings.ToValidUTF8(text, "�")
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

func quote(text string) []byte {
	quoted, _ := json.Marshal(text) // a string always encodes
	return quoted
}

func (a *Admin) logPanic(what string, v any) {
	a.options.Logger.LogAttrs(a.ctx, slog.LevelError, "admin UI: "+what+" has panicked",
		slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
}
