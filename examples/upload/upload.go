package main

import (
	"context"

	"github.com/upshift-go/upshift/core"
)

// What pages send. Both are answered with where to go on, so a page that does
// not know whether its last chunk has arrived just asks, or sends it again.
var (
	Begin  = core.NewEvent[Offer, Receipt]("upload:begin")
	Append = core.NewEvent[Chunk, Receipt]("upload:chunk")
)

// An Offer announces a file, or asks how far one has come.
type Offer struct {
	// ID is what the Receipt of an earlier Offer has said, and empty at first.
	// Who knows it can go on with the upload.
	ID   string `json:"id"`
	Size int64  `json:"size"` // in bytes
	Sum  []byte `json:"sum"`  // SHA-256 of all of it
}

// A Chunk is a piece of a file. Data travels as bytes.
type Chunk struct {
	ID     string `json:"id"`
	Offset int64  `json:"offset"`
	Data   []byte `json:"data"`
}

// A Receipt says how much has been written.
type Receipt struct {
	ID     string `json:"id"`
	Offset int64  `json:"offset"` // where the next chunk begins
	// Sum is the SHA-256 of the file when all of it is there, and null before.
	Sum []byte `json:"sum"`
}

// serveUploads registers the handlers. They block for as long as the disk does,
// which holds up the client that uploads and nobody else.
func serveUploads(ns *core.Namespace, files *store) {
	core.OnEvent(ns, Begin, func(_ context.Context, _ *core.Socket, o Offer) (Receipt, error) {
		return files.begin(o)
	})
	core.OnEvent(ns, Append, func(_ context.Context, _ *core.Socket, c Chunk) (Receipt, error) {
		return files.append(c)
	})
}
