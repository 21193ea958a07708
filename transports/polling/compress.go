package polling

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strconv"
	"strings"
	"sync"
)

// acceptedEncoding returns the content coding that an Accept-Encoding field
// prefers among gzip and deflate, gzip if it likes them alike, or "" if it
// wants neither.
func acceptedEncoding(field string) string {
	if field == "" {
		return ""
	}
	quality := map[string]float64{"gzip": -1, "deflate": -1, "*": 0}
	for item := range strings.SplitSeq(field, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		q := 1.0
		if value, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(value, 64); err != nil {
				q = 0
			}
		}
		if _, known := quality[name]; known {
			quality[name] = q
		}
	}
	for _, name := range []string{"gzip", "deflate"} {
		if quality[name] < 0 { // not named
			quality[name] = quality["*"]
		}
	}
	switch {
	case quality["gzip"] > 0 && quality["gzip"] >= quality["deflate"]:
		return "gzip"
	case quality["deflate"] > 0:
		return "deflate"
	}
	return ""
}

// A compressor is what gzip and zlib writers have in common.
type compressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// compressors are expensive to make. What HTTP calls deflate is the zlib
// format.
var compressors = map[string]*sync.Pool{
	"gzip":    {New: func() any { return gzip.NewWriter(nil) }},
	"deflate": {New: func() any { return zlib.NewWriter(nil) }},
}

func compress(encoding string, body []byte) []byte {
	pool := compressors[encoding]
	w := pool.Get().(compressor) //nolint:forcetypeassert // the pool holds nothing else
	defer pool.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	_, _ = w.Write(body) // a Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}
