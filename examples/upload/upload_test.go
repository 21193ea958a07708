package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A file comes whole, and once, however often the connection is cut: before a
// chunk arrives, and before its answer does.
func TestCutConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		files := newStore(t.TempDir(), 1<<20)
		serveUploads(srv.Of("/"), files)
		client := upshifttest.Dial(t, srv, "/", upshifttest.Options{})

		data := make([]byte, 100_000)
		_, _ = rand.NewChaCha8([32]byte{}).Read(data) // never fails
		o := offerOf(data)
		send := func(r Receipt) (Receipt, error) {
			end := min(r.Offset+10_000, o.Size)
			return Append.Call(t.Context(), client, Chunk{ID: r.ID, Offset: r.Offset, Data: data[r.Offset:end]})
		}
		ask := func() Receipt {
			r, err := Begin.Call(t.Context(), client, o)
			if err != nil {
				t.Fatal(err)
			}
			o.ID = r.ID
			return r
		}
		r := ask()
		for _, cut := range []struct {
			after int   // messages: a chunk is an event and an attachment
			gain  int64 // bytes that are there all the same
		}{{1, 0}, {2, 10_000}, {3, 10_000}, {4, 20_000}} {
			before := r.Offset
			client.CutAfterSent(cut.after)
			for err := error(nil); err == nil; {
				var next Receipt
				if next, err = send(r); err == nil {
					r = next
				}
			}
			synctest.Wait() // what has arrived is handled
			client.Reconnect()
			if r = ask(); r.Offset != before+cut.gain {
				t.Errorf("cut after %d messages, %d bytes are there, want %d", cut.after, r.Offset, before+cut.gain)
			}
		}
		for r.Sum == nil {
			var err error
			if r, err = send(r); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(filepath.Join(files.dir, hex.EncodeToString(o.Sum)))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("the file has %d bytes, %v", len(got), err)
		}
	})
}

func TestErrorsReachThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		serveUploads(srv.Of("/"), newStore(t.TempDir(), 10))
		client := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		_, err := Begin.Call(t.Context(), client, offerOf(make([]byte, 11)))
		if e, ok := errors.AsType[*core.Error](err); !ok || e.Code != "too_large" {
			t.Errorf("a file that is too large: %v", err)
		}
	})
}
