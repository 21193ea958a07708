package redistest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// StartCluster starts a Redis Cluster of three shards without replicas, and returns the
// addresses of all.
func StartCluster(tb testing.TB) []string {
	tb.Helper()
	const shards, slots = 3, 16384
	servers := make([]*Server, shards)
	addrs := make([]string, shards)
	for i := range servers {
		s := Start(tb, "--cluster-enabled", "yes")
		servers[i], addrs[i] = s, s.Addr
		for command, want := range map[string]string{
			fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*slots/shards, (i+1)*slots/shards-1): "+OK",
			"CLUSTER MEET 127.0.0.1 " + servers[0].port:                                      "+OK",
		} {
			if answer := s.ask(command); !strings.HasPrefix(answer, want) {
				tb.Fatalf("%s: %q", command, answer)
			}
		}
	}
	for _, s := range servers {
		for end := time.Now().Add(20 * time.Second); ; {
			info := s.ask("CLUSTER INFO")
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprint("cluster_known_nodes:", shards)) {
				break
			}
			if time.Now().After(end) {
				tb.Fatalf("no Redis Cluster comes about: %s", info)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return addrs
}
