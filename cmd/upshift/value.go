package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/upshift-go/upshift/codec"
)

// binaryKey marks bytes in JSON: {"$binary":"<base64>"}.
const binaryKey = "$binary"

// parseArgs makes values of words: JSON if they are, or else text.
func parseArgs(words []string) []any {
	args := make([]any, len(words))
	for i, word := range words {
		args[i] = parseArg(word)
	}
	return args
}

func parseArg(word string) any {
	decoder := json.NewDecoder(strings.NewReader(word))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return word
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return word // such as 12:30
	}
	return withBytes(v)
}

// withBytes replaces what stands for bytes.
func withBytes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if text, ok := v[binaryKey].(string); ok && len(v) == 1 {
			if data, err := base64.StdEncoding.DecodeString(text); err == nil {
				return data
			}
		}
		for key, value := range v {
			v[key] = withBytes(value)
		}
	case []any:
		for i, value := range v {
			v[i] = withBytes(value)
		}
	}
	return v
}

// splitLine splits a line into words. One that begins as JSON does is all of the value,
// spaces included.
func splitLine(line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		n := strings.IndexAny(line, " \t")
		if n < 0 {
			n = len(line)
		}
		if strings.ContainsAny(line[:1], `{["`) {
			decoder := json.NewDecoder(strings.NewReader(line))
			var v json.RawMessage
			if err := decoder.Decode(&v); err == nil {
				n = int(decoder.InputOffset())
			}
		}
		words = append(words, line[:n])
		line = line[n:]
	}
	return words
}

// eventOf is the name of an event as it was written, with quotes or without.
func eventOf(word string) string {
	var name string
	if json.Unmarshal([]byte(word), &name) == nil {
		return name
	}
	return word
}

// valuesOf decodes arguments for printing.
func valuesOf(args codec.Args) ([]any, error) {
	values := make([]any, args.Len())
	for i := range values {
		var err error
		if values[i], err = valueOf(args.Raw(i)); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// valueOf decodes an argument for printing: numbers as they were written, since
// identifiers are often larger than a float64 can tell apart.
func valueOf(raw codec.Raw) (any, error) {
	var v, exact any
	if err := raw.Bind(&v); err != nil {
		return nil, err
	}
	var text json.RawMessage
	if raw.Bind(&text) == nil {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		_ = decoder.Decode(&exact) // of msgpack there is no text, and no need
	}
	return printable(v, exact), nil
}

// printable replaces bytes by what stands for them, and numbers by those of exact.
func printable(v, exact any) any {
	switch v := v.(type) {
	case []byte:
		return map[string]any{binaryKey: base64.StdEncoding.EncodeToString(v)}
	case float64:
		if n, ok := exact.(json.Number); ok {
			return n
		}
	case map[string]any:
		members, _ := exact.(map[string]any)
		for key, value := range v {
			v[key] = printable(value, members[key])
		}
	case []any:
		elements, _ := exact.([]any)
		for i, value := range v {
			var element any
			if i < len(elements) {
				element = elements[i]
			}
			v[i] = printable(value, element)
		}
	}
	return v
}

// encode is JSON for people and programs: without the escapes that HTML needs.
func encode(v any, indent string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}
