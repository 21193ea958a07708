package codec

import (
	"encoding/json"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// unmarshalOptions are the rules of encoding/json.
var unmarshalOptions = jsonv2.JoinOptions(
	jsonv1.DefaultOptionsV1(),
	jsonv2.WithUnmarshalers(jsonv2.UnmarshalFromFunc(func(d *jsontext.Decoder, n *json.Number) error {
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		return json.Unmarshal(v, n) // this Number, which is not that of jsonv1
	})),
)

// unmarshal is json.Unmarshal by the implementation that encoding/json has from
// Go 1.27 on, which reads a text once and allocates less. What that refuses is
// left to encoding/json, whose errors callers expect.
func unmarshal(data []byte, dst any) error {
	if jsonv2.Unmarshal(data, dst, unmarshalOptions) == nil {
		return nil
	}
	return json.Unmarshal(data, dst)
}
