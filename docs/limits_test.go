package docs_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports/polling"
	"github.com/upshift-go/upshift/transports/ws"
)

// Every limit stands in limits.md, with the default that is in force.
func TestLimits(t *testing.T) {
	for _, complaint := range checkLimits(readTable(t), inForce(t)) {
		t.Error(complaint)
	}
}

// The test above can fail.
func TestLimitsNotices(t *testing.T) {
	limits := inForce(t)
	for name, spoil := range map[string]func(map[string]string){
		"a missing row":         func(rows map[string]string) { delete(rows, "Options.MaxRooms") },
		"a wrong size":          func(rows map[string]string) { rows["Options.MaxOutboxBytes"] = "4 MB" },
		"a wrong time":          func(rows map[string]string) { rows["Recovery.Window"] = "2 s" },
		"a wrong number":        func(rows map[string]string) { rows["polling.Options.MaxPackets"] = "10,000" },
		"an option that is not": func(rows map[string]string) { rows["Options.MaxCats"] = "9" },
		"no number":             func(rows map[string]string) { rows["Options.PingInterval"] = "some" },
	} {
		rows := readTable(t)
		spoil(rows)
		if n := len(checkLimits(rows, limits)); n != 1 {
			t.Errorf("%s: %d complaints", name, n)
		}
	}
}

// Every counter is in limits.md, and every counter there is one of Stats.
func TestCounters(t *testing.T) {
	page := readPage(t, "limits.md")
	counters := reflect.VisibleFields(reflect.TypeFor[core.Stats]())
	named := make(map[string]bool)
	for _, m := range regexp.MustCompile("`Stats\\.([A-Za-z]+)`").FindAllStringSubmatch(page, -1) {
		named[m[1]] = true
	}
	for _, f := range counters {
		if !f.Anonymous && !named[f.Name] {
			t.Errorf("Stats.%s is missing", f.Name)
		}
		delete(named, f.Name)
	}
	for name := range named {
		t.Errorf("there is no Stats.%s", name)
	}
}

// checkLimits compares the table with what is in force.
func checkLimits(rows map[string]string, limits map[string]float64) []string {
	var complaints []string
	for name, want := range limits {
		text, ok := rows[name]
		if !ok {
			complaints = append(complaints, name+" has no row")
			continue
		}
		got, err := parseAmount(text)
		switch {
		case err != nil:
			complaints = append(complaints, fmt.Sprintf("%s: %v", name, err))
		case got != want:
			complaints = append(complaints, fmt.Sprintf("the default of %s is %v, not %q", name, want, text))
		}
	}
	for name := range rows {
		if _, ok := limits[name]; !ok {
			complaints = append(complaints, name+" has a row, but is no option")
		}
	}
	return complaints
}

// inForce returns the numbers among the options, as a server that was given
// none has them.
func inForce(t *testing.T) map[string]float64 {
	t.Helper()
	srv, err := core.New(core.Options{Recovery: &core.Recovery{}})
	if err != nil {
		t.Fatal(err)
	}
	server := reflect.ValueOf(srv)
	limits := make(map[string]float64)
	collect := func(prefix string, of reflect.Type, from ...reflect.Value) {
		for _, f := range reflect.VisibleFields(of) {
			if !f.Type.ConvertibleTo(reflect.TypeFor[float64]()) {
				continue // a function, a switch, or options of something else
			}
			limits[prefix+f.Name] = 0
			for _, v := range from { // a layer passes what it does not look at on to the next
				if v := v.FieldByName(f.Name); v.IsValid() && !v.IsZero() {
					limits[prefix+f.Name] = number(v)
				}
			}
		}
	}
	options := inside(t, server, "options")
	collect("Options.", reflect.TypeFor[core.Options](), options, inside(t, server, "manager", "options"))
	collect("Recovery.", reflect.TypeFor[core.Recovery](), inside(t, options, "Recovery"))
	collect("polling.Options.", reflect.TypeFor[polling.Options](), inside(t, reflect.ValueOf(polling.New(polling.Options{})), "options"))
	socket := inside(t, reflect.ValueOf(ws.New(ws.Options{})), "options")
	collect("ws.Options.", reflect.TypeFor[ws.Options](), socket)
	collect("ws.Compression.", reflect.TypeFor[ws.Compression](), inside(t, socket, "Compression"))
	collect("codec.JSONOptions.", reflect.TypeFor[codec.JSONOptions](), inside(t, reflect.ValueOf(codec.JSON(codec.JSONOptions{})), "limits"))
	collect("codec.MsgPackOptions.", reflect.TypeFor[codec.MsgPackOptions]())
	limits["codec.MsgPackOptions.MaxDepth"] = number(inside(t, reflect.ValueOf(codec.MsgPack(codec.MsgPackOptions{})), "maxDepth"))
	return limits
}

// number returns a number that may be in a field that is not exported.
func number(v reflect.Value) float64 {
	if v.CanInt() {
		return float64(v.Int())
	}
	return v.Float()
}

// inside returns a field of a field, through pointers.
func inside(t *testing.T, v reflect.Value, path ...string) reflect.Value {
	t.Helper()
	for _, name := range path {
		if v = reflect.Indirect(v).FieldByName(name); !v.IsValid() {
			t.Fatalf("there is no %s any more where this test looks for options", name)
		}
	}
	return reflect.Indirect(v)
}

var row = regexp.MustCompile("(?m)^\\| `([A-Za-z.]+)` \\| ([^|]*?) +\\|")

// readTable returns the rows of the tables in limits.md: options and defaults.
func readTable(t *testing.T) map[string]string {
	t.Helper()
	rows := make(map[string]string)
	for _, m := range row.FindAllStringSubmatch(readPage(t, "limits.md"), -1) {
		if _, ok := rows[m[1]]; ok {
			t.Errorf("%s has two rows", m[1])
		}
		rows[m[1]] = m[2]
	}
	if len(rows) == 0 {
		t.Fatal("limits.md has no table")
	}
	return rows
}

// parseAmount reads "none", "1,000", "64 KiB" or "2 min".
func parseAmount(text string) (float64, error) {
	units := map[string]float64{
		"": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20,
		"s": float64(time.Second), "min": float64(time.Minute),
	}
	if text == "none" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseFloat(strings.ReplaceAll(number, ",", ""), 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no amount", text)
	}
	factor, ok := units[unit]
	if !ok {
		return 0, fmt.Errorf("%q has an unknown unit", text)
	}
	return n * factor, nil
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}
