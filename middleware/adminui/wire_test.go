package adminui_test

import (
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// onWire are values as another server gets them.
func onWire(values []any) core.Args {
	json := codec.JSON(codec.JSONOptions{})
	frames, err := json.Encode(nil, &codec.Packet{Type: codec.Event, Event: "x", Args: values})
	if err != nil {
		panic(err)
	}
	r, _, err := json.NewDecoder().Decode(frames[0])
	if err != nil {
		panic(err)
	}
	return r.Args
}
