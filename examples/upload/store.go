package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/upshift-go/upshift/core"
)

// What one server keeps at once, of all clients together: count them for each
// user where there are users. An upload that nobody has gone on with for
// forgetAfter makes room for another.
const (
	maxUploads  = 100
	forgetAfter = 10 * time.Minute
)

// A store writes uploads to a directory. Its methods may be called from any
// goroutine.
type store struct {
	dir     string
	maxSize int64

	mu      sync.Mutex // guards uploads, and touched of each
	uploads map[string]*upload
}

func newStore(dir string, maxSize int64) *store {
	return &store{dir: dir, maxSize: maxSize, uploads: make(map[string]*upload)}
}

// An upload is a file on its way. The connections it comes over do not matter.
type upload struct {
	id      string
	size    int64
	sum     []byte // as announced
	path    string // while it is not complete
	touched time.Time

	mu     sync.Mutex // held while a chunk is written; guards what follows
	offset int64
	hash   hash.Hash // of what is there
	done   bool
}

// begin finds the upload that an offer means, or makes one.
func (s *store) begin(o Offer) (Receipt, error) {
	if u := s.find(o.ID); u != nil && u.size == o.Size && bytes.Equal(u.sum, o.Sum) {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.receiptLocked(), nil
	}
	switch {
	case o.Size <= 0:
		return Receipt{}, core.Errorf("bad_size", "The file is empty.")
	case o.Size > s.maxSize:
		return Receipt{}, core.Errorf("too_large", "The file is larger than %d bytes.", s.maxSize)
	case len(o.Sum) != sha256.Size:
		return Receipt{}, core.Errorf("bad_sum", "A SHA-256 has %d bytes.", sha256.Size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.makeRoomLocked() {
		return Receipt{}, core.Errorf("busy", "Too many files are on their way. Try again later.")
	}
	id := rand.Text()
	u := &upload{
		id: id, size: o.Size, sum: bytes.Clone(o.Sum), path: filepath.Join(s.dir, id+".part"),
		touched: time.Now(), hash: sha256.New(),
	}
	s.uploads[id] = u
	return Receipt{ID: id}, nil
}

// find returns the upload with that id, or nil.
func (s *store) find(id string) *upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[id]
	if u != nil {
		u.touched = time.Now()
	}
	return u
}

// makeRoomLocked forgets what was abandoned if there are too many uploads, and
// reports whether there may be one more.
func (s *store) makeRoomLocked() bool {
	for id, u := range s.uploads {
		if len(s.uploads) < maxUploads {
			break
		}
		if time.Since(u.touched) > forgetAfter {
			_ = os.Remove(u.path) // there may be nothing of it yet, or all of it elsewhere
			delete(s.uploads, id)
		}
	}
	return len(s.uploads) < maxUploads
}

// append writes a chunk if it is the next one. One that is not changes nothing:
// it has been written before, over a connection that was cut before the answer.
func (s *store) append(c Chunk) (Receipt, error) {
	u := s.find(c.ID)
	if u == nil {
		return Receipt{}, core.Errorf("unknown_upload", "There is no such upload. Begin again.")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case c.Offset != u.offset || u.done:
		return u.receiptLocked(), nil
	case len(c.Data) == 0:
		return Receipt{}, core.Errorf("bad_chunk", "The chunk is empty.")
	case int64(len(c.Data)) > u.size-u.offset:
		return Receipt{}, core.Errorf("bad_chunk", "The file is larger than it was said to be.")
	}
	if err := writeAt(u.path, c.Data, u.offset); err != nil {
		return Receipt{}, err // the client is told "internal", and may send it again
	}
	_, _ = u.hash.Write(c.Data) // never fails
	u.offset += int64(len(c.Data))
	if u.offset < u.size {
		return u.receiptLocked(), nil
	}
	if err := s.completeLocked(u); err != nil {
		u.offset = 0 // whoever goes on begins at the beginning
		u.hash.Reset()
		return Receipt{}, err
	}
	u.done = true // and known for a while, to a client that has missed the answer
	return u.receiptLocked(), nil
}

// completeLocked gives an upload its place if it is what was announced.
func (s *store) completeLocked(u *upload) error {
	if !bytes.Equal(u.hash.Sum(nil), u.sum) {
		return core.Errorf("bad_sum", "What has arrived is not what was announced.")
	}
	return os.Rename(u.path, filepath.Join(s.dir, hex.EncodeToString(u.sum)))
}

func (u *upload) receiptLocked() Receipt {
	r := Receipt{ID: u.id, Offset: u.offset}
	if u.done {
		r.Sum = u.sum
	}
	return r
}

// writeAt writes a piece of a file. The file is not held open in between: an
// upload may pause for minutes.
func writeAt(path string, data []byte, offset int64) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(data, offset); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
