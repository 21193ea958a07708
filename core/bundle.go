package core

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// A bundle serves the files of the official client from a directory. Each is
// read when it is first asked for, and kept.
type bundle struct {
	dir string

	mu    sync.Mutex // guards files
	files map[string]*bundleFile
}

type bundleFile struct {
	plain, gzipped []byte
	etag           string
}

// has reports whether name is one of the files that the reference serves.
func (b *bundle) has(name string) bool {
	if b.dir == "" {
		return false
	}
	switch strings.TrimSuffix(name, ".map") {
	case "socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js":
		return true
	}
	return false
}

// serve answers a request for a file. has(name) is true.
func (b *bundle) serve(ex transports.Exchange, name string) {
	// A client that has gone needs no answer: errors of Respond are dropped.
	if m := ex.Method(); m != http.MethodGet && m != http.MethodHead {
		ex.SetHeader("Allow", "GET, HEAD")
		_ = ex.Respond(http.StatusMethodNotAllowed, nil)
		return
	}
	f, err := b.file(name)
	if err != nil {
		_ = ex.Respond(http.StatusNotFound, nil)
		return
	}
	ex.SetHeader("ETag", f.etag)
	ex.SetHeader("Cache-Control", "public, max-age=0")
	ex.AddHeader("Vary", "Accept-Encoding")
	if strings.TrimPrefix(ex.Header("If-None-Match"), "W/") == f.etag {
		_ = ex.Respond(http.StatusNotModified, nil)
		return
	}
	if strings.HasSuffix(name, ".map") {
		ex.SetHeader("Content-Type", "application/json; charset=utf-8")
	} else {
		ex.SetHeader("Content-Type", "application/javascript; charset=utf-8")
	}
	body := f.plain
	if strings.Contains(ex.Header("Accept-Encoding"), "gzip") {
		ex.SetHeader("Content-Encoding", "gzip")
		body = f.gzipped
	}
	_ = ex.Respond(http.StatusOK, body)
}

func (b *bundle) file(name string) (*bundleFile, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.files[name]; f != nil {
		return f, nil
	}
	plain, err := os.ReadFile(filepath.Join(b.dir, name)) //nolint:gosec // has knows every name there is
	if err != nil {
		return nil, err
	}
	var gzipped bytes.Buffer
	w := gzip.NewWriter(&gzipped)
	_, _ = w.Write(plain) // a Buffer takes everything
	_ = w.Close()
	sum := sha256.Sum256(plain)
	f := &bundleFile{
		plain: plain, gzipped: gzipped.Bytes(),
		etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`,
	}
	if b.files == nil {
		b.files = make(map[string]*bundleFile)
	}
	b.files[name] = f
	return f, nil
}
