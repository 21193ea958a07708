package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
)

const limit = 1000

func offerOf(data []byte) Offer {
	sum := sha256.Sum256(data)
	return Offer{Size: int64(len(data)), Sum: sum[:]}
}

func begin(t *testing.T, s *store, o Offer) Receipt {
	t.Helper()
	r, err := s.begin(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if e, ok := errors.AsType[*core.Error](err); !ok || e.Code != code {
		t.Errorf("error = %v, want code %s", err, code)
	}
}

// A chunk that comes again, too early or too late changes nothing, and the
// answer says where to go on.
func TestChunksInAnyOrder(t *testing.T) {
	s := newStore(t.TempDir(), limit)
	data := []byte("0123456789")
	o := offerOf(data)
	o.ID = begin(t, s, o).ID
	for _, step := range []struct{ from, to, want int64 }{{0, 4, 4}, {0, 4, 4}, {8, 10, 4}, {2, 6, 4}, {4, 8, 8}, {8, 10, 10}, {8, 10, 10}} {
		r, err := s.append(Chunk{ID: o.ID, Offset: step.from, Data: data[step.from:step.to]})
		if err != nil || r.Offset != step.want || (r.Sum != nil) != (step.want == 10) {
			t.Errorf("after %d to %d: %+v, %v", step.from, step.to, r, err)
		}
	}
	if r := begin(t, s, o); r.Offset != 10 || !bytes.Equal(r.Sum, o.Sum) {
		t.Errorf("asked afterwards: %+v", r)
	}
	got, err := os.ReadFile(filepath.Join(s.dir, hex.EncodeToString(o.Sum)))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if files, _ := os.ReadDir(s.dir); len(files) != 1 {
		t.Errorf("there are %v", files)
	}
}

func TestRefused(t *testing.T) {
	s := newStore(t.TempDir(), limit)
	for code, o := range map[string]Offer{
		"bad_size":  {Sum: make([]byte, sha256.Size)},
		"too_large": offerOf(make([]byte, limit+1)),
		"bad_sum":   {Size: 1, Sum: []byte("short")},
	} {
		_, err := s.begin(o)
		wantCode(t, err, code)
	}
	_, err := s.append(Chunk{ID: "guessed", Data: []byte("x")})
	wantCode(t, err, "unknown_upload")
	o := offerOf(make([]byte, limit))
	o.ID = begin(t, s, o).ID
	_, err = s.append(Chunk{ID: o.ID})
	wantCode(t, err, "bad_chunk")
	_, err = s.append(Chunk{ID: o.ID, Data: make([]byte, limit+1)})
	wantCode(t, err, "bad_chunk")
	if files, _ := os.ReadDir(s.dir); len(files) != 0 {
		t.Errorf("what was refused has left %v", files)
	}
}

// What is not what was announced is refused, and can be sent again.
func TestWrongSum(t *testing.T) {
	s := newStore(t.TempDir(), limit)
	o := offerOf([]byte("right"))
	o.ID = begin(t, s, o).ID
	_, err := s.append(Chunk{ID: o.ID, Data: []byte("wrong")})
	wantCode(t, err, "bad_sum")
	if r := begin(t, s, o); r.Offset != 0 || r.Sum != nil {
		t.Errorf("asked afterwards: %+v", r)
	}
	if r, err := s.append(Chunk{ID: o.ID, Data: []byte("right")}); err != nil || r.Sum == nil {
		t.Errorf("sent again: %+v, %v", r, err)
	}
}

// An id is good for the file that it was given for, and one that nobody knows
// begins at the beginning.
func TestOfferWithForeignID(t *testing.T) {
	s := newStore(t.TempDir(), limit)
	mine := begin(t, s, offerOf([]byte("mine"))).ID
	o := offerOf([]byte("else"))
	for _, id := range []string{mine, "guessed", "../../etc/passwd"} {
		o.ID = id
		if r := begin(t, s, o); r.ID == id || r.Offset != 0 {
			t.Errorf("with the id %q: %+v", id, r)
		}
	}
}

func TestUploadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t.TempDir(), limit)
		o := offerOf([]byte("some data"))
		first := begin(t, s, o)
		if _, err := s.append(Chunk{ID: first.ID, Data: []byte("some")}); err != nil {
			t.Fatal(err)
		}
		for range maxUploads - 1 {
			begin(t, s, o)
		}
		_, err := s.begin(o)
		wantCode(t, err, "busy")
		<-time.After(forgetAfter + time.Second) // takes no time
		begin(t, s, o)
		if n := len(s.uploads); n > maxUploads {
			t.Errorf("%d uploads", n)
		}
		for range maxUploads - 1 { // until the first has made room, too
			begin(t, s, o)
		}
		if files, _ := os.ReadDir(s.dir); len(files) != 0 {
			t.Errorf("what was forgotten has left %v", files)
		}
	})
}
