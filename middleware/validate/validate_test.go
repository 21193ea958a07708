package validate_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/validate"
	"github.com/upshift-go/upshift/upshifttest"
)

type item struct {
	Name  string `json:"name" validate:"required,max=5"`
	Count int    `json:"count" validate:"min=1,max=100"`
}

type order struct {
	ID    string `json:"id,omitempty" validate:"required"`
	Items []item `json:"items" validate:"dive"`
	Plain string
}

// Validate says what no tag can.
func (o order) Validate() error {
	if strings.Contains(o.Plain, "panic") {
		panic("validator")
	}
	if o.Plain == "own" {
		return core.Errorf("own", "a refusal of its own")
	}
	if o.Plain != "" && len(o.Items) == 0 {
		return errors.New("plain and no items")
	}
	return nil
}

func TestOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		ns := srv.Of("/")
		handled := 0
		validate.On(ns, "order", func(context.Context, *core.Socket, order) (bool, error) { handled++; return true, nil })
		validate.On(ns, "items", func(context.Context, *core.Socket, []item) (bool, error) { handled++; return true, nil })
		validate.On(ns, "byName", func(context.Context, *core.Socket, map[string]*item) (bool, error) { handled++; return true, nil })
		validate.On(ns, "two", func(context.Context, *core.Socket, core.Args2[string, item]) (bool, error) {
			handled++
			return true, nil
		})
		validate.On(ns, "number", func(context.Context, *core.Socket, int) (bool, error) { handled++; return true, nil })
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		type list = []any
		good := map[string]any{"name": "tea", "count": 1}
		bad := map[string]any{"name": "too long", "count": 0}
		for _, tt := range []struct {
			name, event string
			args        list
			code        string
			data        string
		}{
			{"valid", "order", list{map[string]any{"id": "1", "items": list{good}}}, "", ""},
			{"missing", "order", list{map[string]any{}}, "invalid", `[{"path":"id","rule":"required"}]`},
			{"no argument", "order", nil, "invalid", `[{"path":"id","rule":"required"}]`},
			{
				"nested", "order",
				list{map[string]any{"id": "1", "items": list{good, bad}}},
				"invalid",
				`[{"path":"items[1].name","rule":"max","param":"5"},{"path":"items[1].count","rule":"min","param":"1"}]`,
			},
			{"method", "order", list{map[string]any{"id": "1", "Plain": "x"}}, "invalid", ""},
			{"method with its own error", "order", list{map[string]any{"id": "1", "Plain": "own"}}, "own", ""},
			{"panic", "order", list{map[string]any{"id": "1", "Plain": "panic"}}, core.CodeInternal, ""},
			{"another type", "order", list{7}, core.CodeBadPayload, ""},
			{"slice", "items", list{list{good, bad}}, "invalid", `[{"path":"[1].name","rule":"max","param":"5"},{"path":"[1].count","rule":"min","param":"1"}]`},
			{"map of pointers", "byName", list{map[string]any{"x": map[string]any{"name": "x"}, "nil": nil}}, "invalid", `[{"path":"[x].count","rule":"min","param":"1"}]`},
			{"second argument", "two", list{"first", map[string]any{"name": "tea"}}, "invalid", `[{"path":"[1].count","rule":"min","param":"1"}]`},
			{"nothing to check", "number", list{7}, "", ""},
		} {
			handled = 0
			err := c.Call(t.Context(), tt.event, tt.args)
			var code, data string
			if told, ok := errors.AsType[*core.Error](err); ok {
				code = told.Code
				if text, _ := json.Marshal(told.Data); told.Data != nil {
					data = string(text)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if code != tt.code || !sameJSON(t, data, tt.data) {
				t.Errorf("%s: told %q with %s, want %q with %s", tt.name, code, data, tt.code, tt.data)
			}
			synctest.Wait()
			if want := tt.code == ""; (handled == 1) != want {
				t.Errorf("%s: handled %d times", tt.name, handled)
			}
		}
	})
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y []validate.Field
	for text, v := range map[string]*[]validate.Field{a: &x, b: &y} {
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), v); err != nil {
			t.Error(err)
		}
	}
	if a == b {
		return true
	}
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}

type brokenValidator struct{}

var errRules = errors.New("bad rules")

func (brokenValidator) Struct(any) error { return errRules }

// A validator of one's own refuses with its own text, and handlers' middleware can
// tell it apart.
func TestInput(t *testing.T) {
	handler := validate.Input(brokenValidator{}, func(context.Context, *core.Socket, item) (int, error) { return 1, nil })
	n, err := handler(t.Context(), nil, item{})
	if told, ok := errors.AsType[*core.Error](err); n != 0 || !ok || told.Code != validate.Code || !errors.Is(err, errRules) {
		t.Errorf("%d, %v", n, err)
	}
}
