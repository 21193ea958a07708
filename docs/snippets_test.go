package docs_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every piece of Go in docs/ compiles: blocks marked as go, and the code in
// the cheatsheet's tables. A piece is a whole file, declarations, or
// statements; what it takes for granted is in testdata/prelude.go.
func TestSnippets(t *testing.T) {
	c := newChecker(t)
	pages, err := filepath.Glob("*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages: ", err)
	}
	for _, name := range pages {
		page := readPage(t, name)
		snippets := blocks(page)
		if name == "cheatsheet.md" {
			cells := codeCells(page)
			if len(cells) < 40 {
				t.Errorf("%s: %d rows with code", name, len(cells))
			}
			snippets = append(snippets, cells...)
		}
		for _, text := range snippets {
			if err := c.check(text); err != nil {
				t.Errorf("%s: %v\n%s", name, err, text)
			}
		}
	}
}

// The test above can fail.
func TestSnippetsNotices(t *testing.T) {
	c := newChecker(t)
	for text, ok := range map[string]bool{
		`answer, err := s.Namespace().To("a").Sockets(), s.Emit(ctx, "x")`: true,
		`func f(ns *core.Namespace) { ns.OnAny(nil) }`:                     true,
		"package p\n\nvar N = 1":                                           true,
		`s.Emmit(ctx, "x")`:                                                false,
		`s.Emit("x")`:                                                      false,
		`core.On(ns, "x", func(ctx context.Context, s *core.Socket, m Message) error { return nil })`: false,
		`x := [`:                       false,
		"package p\n\nvar N int = `a`": false,
	} {
		if err := c.check(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Links between the pages, and to files of the repository, lead somewhere.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	for _, name := range pages {
		text := span.ReplaceAllString(block.ReplaceAllString(readPage(t, name), ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := m[1]
			if target == "" {
				target = name
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
				continue
			}
			if m[2] != "" && !hasHeading(readPage(t, target), m[2][1:]) {
				t.Errorf("%s links to %s, which has no such heading", name, m[1]+m[2])
			}
		}
	}
}

// hasHeading reports whether a page has the heading with the given anchor.
func hasHeading(page, anchor string) bool {
	drop := regexp.MustCompile(`[^a-z0-9 _-]`)
	for line := range strings.Lines(page) {
		title := strings.TrimSpace(strings.TrimLeft(line, "#"))
		if line[0] == '#' && strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(title), ""), " ", "-") == anchor {
			return true
		}
	}
	return false
}

var block = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// blocks returns the Go blocks of a page.
func blocks(page string) []string {
	matches := block.FindAllStringSubmatch(page, -1)
	found := make([]string, 0, len(matches))
	for _, m := range matches {
		found = append(found, m[1])
	}
	return found
}

var span = regexp.MustCompile("`([^`]+)`")

// codeCells returns what stands as code in the second column of the tables of
// a page, row by row.
func codeCells(page string) []string {
	var found []string
	for line := range strings.Lines(page) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "|") || len(cells) < 2 {
			continue
		}
		for _, cell := range cells[1:min(len(cells), 3)] {
			var code []string
			for _, m := range span.FindAllStringSubmatch(cell, -1) {
				code = append(code, m[1])
			}
			if len(code) > 0 {
				found = append(found, strings.Join(code, "\n"))
			}
		}
	}
	return found
}

// A checker type-checks pieces of Go.
type checker struct {
	fset     *token.FileSet
	importer types.Importer
	prelude  string
}

// imports is what pieces may use without an import of their own.
const imports = `
import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/adapters/emitter"
	"github.com/upshift-go/upshift/adapters/redis"
	"github.com/upshift-go/upshift/adapters/relay"
	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/middleware/accesslog"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/middleware/history"
	"github.com/upshift-go/upshift/middleware/metrics"
	"github.com/upshift-go/upshift/middleware/presence"
	"github.com/upshift-go/upshift/middleware/ratelimit"
	"github.com/upshift-go/upshift/middleware/timeout"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
	"github.com/upshift-go/upshift/transports/polling"
	"github.com/upshift-go/upshift/transports/ws"
	"github.com/upshift-go/upshift/upshifttest"
)
`

func newChecker(t *testing.T) *checker {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", "fmt")
	for _, m := range regexp.MustCompile(`"(.*)"`).FindAllStringSubmatch(imports, -1) {
		cmd.Args = append(cmd.Args, m[1])
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(cmd, err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[path] = file
	}
	fset := token.NewFileSet()
	return &checker{
		fset:    fset,
		prelude: readPage(t, "testdata/prelude.go"),
		importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
			if exports[path] == "" {
				return nil, fmt.Errorf("snippets do not import %s", path)
			}
			return os.Open(exports[path])
		}),
	}
}

// check returns what is wrong with a piece of Go.
func (c *checker) check(text string) error {
	if strings.HasPrefix(strings.TrimLeft(text, "\n"), "package ") || strings.HasPrefix(text, "//") && strings.Contains(text, "\npackage ") {
		file, err := parser.ParseFile(c.fset, "page", text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		return c.types(file)
	}
	const head = "package snippet\n" + imports + "\n"
	file, err := parser.ParseFile(c.fset, "page", head+text, parser.SkipObjectResolution)
	if err != nil { // not declarations, so it is statements
		file, err = parser.ParseFile(c.fset, "page", head+"func _() error {\n"+text+"\nreturn nil\n}", parser.SkipObjectResolution)
	}
	if err != nil {
		return err
	}
	prelude, err := parser.ParseFile(c.fset, "prelude", c.prelude, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	hide(prelude, file)
	return c.types(prelude, file)
}

// types type-checks the files as one package. That something is not used is no
// error.
func (c *checker) types(files ...*ast.File) error {
	var found []error
	config := types.Config{
		Importer: c.importer,
		Error: func(err error) {
			if e, ok := errors.AsType[types.Error](err); !ok || !e.Soft {
				found = append(found, err)
			}
		},
	}
	_, _ = config.Check("snippet", c.fset, files, nil) // its error is the first of those above
	return errors.Join(found...)
}

// hide renames the declarations of the prelude that the piece has its own of.
func hide(prelude, file *ast.File) {
	own := make(map[string]bool)
	for _, name := range declared(file) {
		own[name.Name] = true
	}
	for _, name := range declared(prelude) {
		if own[name.Name] {
			name.Name = "_"
		}
	}
}

// declared returns the names that a file declares for its package.
func declared(file *ast.File) []*ast.Ident {
	var names []*ast.Ident
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				names = append(names, d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					names = append(names, spec.Name)
				case *ast.ValueSpec:
					names = append(names, spec.Names...)
				}
			}
		}
	}
	return names
}

// The page shows the nginx directives that the tests of the official client
// pass with.
func TestNginxDirectives(t *testing.T) {
	page, test := readPage(t, "proxies.md"), readPage(t, "../internal/interop/nginx_test.go")
	for _, directive := range []string{
		"proxy_http_version 1.1;",
		"proxy_set_header Upgrade $http_upgrade;",
		`proxy_set_header Connection "upgrade";`,
	} {
		if !strings.Contains(page, directive) || !strings.Contains(test, directive) {
			t.Errorf("%s is not in both", directive)
		}
	}
}
