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

// A coding is a content coding of HTTP.
type coding uint8

const (
	identity coding = iota
	gzipped
	deflated // which is the zlib format (RFC 9110 section 8.4.1.2)
)

// String returns the name that HTTP has for it.
func (c coding) String() string {
	return [...]string{"identity", "gzip", "deflate"}[c]
}

// acceptedCoding returns which of the codings an Accept-Encoding field
// prefers, gzip if it likes both alike, or identity if it wants neither.
func acceptedCoding(field string) coding {
	const unnamed = -1
	gzipQ, deflateQ, anyQ := float64(unnamed), float64(unnamed), 0.0
	for item := range strings.SplitSeq(field, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		switch name = strings.TrimSpace(name); {
		case strings.EqualFold(name, "gzip"):
			gzipQ = quality(parameters)
		case strings.EqualFold(name, "deflate"):
			deflateQ = quality(parameters)
		case name == "*":
			anyQ = quality(parameters)
		}
	}
	if gzipQ == unnamed {
		gzipQ = anyQ
	}
	if deflateQ == unnamed {
		deflateQ = anyQ
	}
	switch {
	case gzipQ > 0 && gzipQ >= deflateQ:
		return gzipped
	case deflateQ > 0:
		return deflated
	}
	return identity
}

// quality returns the weight among the parameters of an item: 1 if it has
// none, 0 if it is not a number.
func quality(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}

// A compressor compresses one body after another.
type compressor struct {
	out    bytes.Buffer
	writer interface {
		io.WriteCloser
		Reset(w io.Writer)
	}
}

// compress returns the compressed body, which is valid until the next call.
func (c *compressor) compress(data []byte) []byte {
	c.out.Reset()
	c.writer.Reset(&c.out)
	_, _ = c.writer.Write(data) // a Buffer takes everything
	_ = c.writer.Close()
	return c.out.Bytes()
}

// compressors are expensive to make and therefore reused. The level is the
// fastest: better ones cost several times the time for a few percent, and a
// session that sends much has moved to WebSocket.
var compressors = [...]compressorPool{
	gzipped: {pool: sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails for levels that do not exist
		return &compressor{writer: w}
	}}},
	deflated: {pool: sync.Pool{New: func() any {
		w, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed)
		return &compressor{writer: w}
	}}},
}

type compressorPool struct{ pool sync.Pool }

func (p *compressorPool) get() *compressor {
	return p.pool.Get().(*compressor) //nolint:forcetypeassert // the pool holds nothing else
}

func (p *compressorPool) put(c *compressor) {
	if c.out.Cap() <= 64<<10 { // one burst should not keep its peak in the pool
		p.pool.Put(c)
	}
}
