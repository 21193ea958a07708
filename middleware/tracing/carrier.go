package tracing

import (
	"go.opentelemetry.io/otel/propagation"

	"github.com/upshift-go/upshift/core"
)

// headers are the fields of the request that opened a session. They are read only.
type headers struct{ handshake *core.Handshake }

var _ propagation.TextMapCarrier = headers{}

// Get implements propagation.TextMapCarrier.
func (h headers) Get(key string) string { return h.handshake.Header.Get(key) }

// Set implements propagation.TextMapCarrier.
func (headers) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (h headers) Keys() []string {
	var keys []string
	for name := range h.handshake.Header.All() {
		keys = append(keys, name)
	}
	return keys
}

// texts are the members of an object that are text. They are read only.
type texts map[string]any

var _ propagation.TextMapCarrier = texts(nil)

// Get implements propagation.TextMapCarrier.
func (t texts) Get(key string) string {
	text, _ := t[key].(string)
	return text
}

// Set implements propagation.TextMapCarrier.
func (texts) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (t texts) Keys() []string {
	var keys []string
	for key, value := range t {
		if _, ok := value.(string); ok {
			keys = append(keys, key)
		}
	}
	return keys
}
