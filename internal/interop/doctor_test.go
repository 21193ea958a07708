package interop

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// buildTool builds cmd/upshift into a directory of the test.
func buildTool(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "upshift")
	build := exec.Command("go", "build", "-o", path, "./cmd/upshift")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// The doctor examines real deployments, each of which is broken in one way, and names
// what is wrong.
func TestDoctor(t *testing.T) {
	tool := buildTool(t)
	const webSocket = `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; proxy_set_header Host $http_host;`
	ours := func(t *testing.T) string { return startApp(t, "own", settings{}).addr }
	nodes := func(t *testing.T) string {
		return "127.0.0.1:" + strconv.Itoa(startOfficial(t, "", nil).port)
	}
	for name, deployment := range map[string]struct {
		url   func(t *testing.T) string
		flags []string
		want  string // checks that find a problem
		lucky string // the one of them that may not
	}{
		"well":       {url: func(t *testing.T) string { return startNginx(t, ours(t), webSocket+"client_max_body_size 20m;") }},
		"well, Node": {url: func(t *testing.T) string { return startNginx(t, nodes(t), webSocket+"client_max_body_size 20m;") }},
		"no upgrade headers": {
			url: func(t *testing.T) string { return startNginx(t, ours(t), "client_max_body_size 20m;") }, want: "upgrade websocket",
		},
		"no upgrade headers, Node": {
			url: func(t *testing.T) string { return startNginx(t, nodes(t), "client_max_body_size 20m;") }, want: "upgrade websocket",
		},
		"two nodes without stickiness": {
			url: func(t *testing.T) string {
				return startNginx(t, ours(t)+","+ours(t), webSocket+"client_max_body_size 20m;")
			}, want: "sticky upgrade", lucky: "upgrade", // requests alternate, and may go where they belong
		},
		"two nodes without stickiness, Node": {
			url: func(t *testing.T) string {
				return startNginx(t, nodes(t)+","+nodes(t), webSocket+"client_max_body_size 20m;")
			}, want: "sticky upgrade", lucky: "upgrade", // requests alternate, and may go where they belong
		},
		"idle timeout of 10 s": {
			url: func(t *testing.T) string {
				return startNginx(t, ours(t), webSocket+"client_max_body_size 20m; proxy_read_timeout 10s;")
			}, flags: []string{"--heartbeat"}, want: "heartbeat heartbeat",
		},
		"idle timeout of 10 s, Node": {
			url: func(t *testing.T) string {
				return startNginx(t, nodes(t), webSocket+"client_max_body_size 20m; proxy_read_timeout 10s;")
			}, flags: []string{"--heartbeat"}, want: "heartbeat heartbeat",
		},
		"bodies of 100 KB": {
			url: func(t *testing.T) string { return startNginx(t, ours(t), webSocket+"client_max_body_size 100k;") }, want: "payload",
		},
		"wrong path": {
			url: func(t *testing.T) string { return startNginx(t, ours(t), "") }, flags: []string{"--path", "/io/"}, want: "reach",
		},
		"version 2": {url: startOldServer, want: "protocol"},
		"origin":    {url: func(t *testing.T) string { return "http://" + nodes(t) }, flags: []string{"--origin", "https://app.example"}, want: "cors"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"doctor", deployment.url(t), "--json", "--timeout", "5s"}, deployment.flags...)
			if i := len(args) - 1; args[i] == "--heartbeat" {
				args = args[:i]
			} else {
				args = append(args, "--quick")
			}
			out, err := exec.Command(tool, args...).Output()
			var report struct {
				Findings []struct{ Check, Severity, Says, Why string }
			}
			if err := json.Unmarshal(out, &report); err != nil {
				t.Fatalf("%s: %v", out, err)
			}
			var problems []string
			for _, f := range report.Findings {
				if f.Severity == "problem" || f.Severity == "warning" {
					problems = append(problems, f.Check)
				}
			}
			slices.Sort(problems)
			if deployment.lucky != "" && !slices.Contains(problems, deployment.lucky) {
				problems = append(problems, deployment.lucky)
				slices.Sort(problems)
			}
			if got := strings.Join(problems, " "); got != deployment.want || (err != nil) != (got != "") {
				t.Errorf("found %q (%v), want %q: %s", got, err, deployment.want, out)
			}
		})
	}
}

// startOldServer starts a server of version 2 and returns its URL.
func startOldServer(t *testing.T) string {
	t.Helper()
	need(t, "node")
	cmd := exec.Command("node", "oldserver.mjs")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_ = cmd.Wait() // how it ends does not matter
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "http://127.0.0.1:" + strings.TrimSpace(port)
}
