package codec_test

import (
	"testing"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/codec/codectest"
)

func TestMsgPackConformance(t *testing.T) {
	codectest.Run(t, func() codec.Codec { return codec.MsgPack(codec.MsgPackOptions{}) })
}
