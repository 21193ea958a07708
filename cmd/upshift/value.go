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
		var v any
		if err := args.Raw(i).Bind(&v); err != nil {
			return nil, err
		}
		values[i] = withoutBytes(v)
	}
	return values, nil
}

func withoutBytes(v any) any {
	switch v := v.(type) {
	case []byte:
		return map[string]any{binaryKey: base64.StdEncoding.EncodeToString(v)}
	case map[string]any:
		for key, value := range v {
			v[key] = withoutBytes(value)
		}
	case []any:
		for i, value := range v {
			v[i] = withoutBytes(value)
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
