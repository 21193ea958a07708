package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// idle opens sessions that then do nothing. The cost is the memory of each, the
// rate how many were opened per second.
func idle(n int) func(plan, *child) (sample, error) {
	return func(p plan, server *child) (s sample, err error) {
		return p.idle(server, n, func() (func(), error) {
			clients, err := connect(server, n, 512)
			return func() { hangUp(clients) }, err
		})
	}
}

// idlePolls opens sessions whose polls are parked.
func idlePolls(n int) func(plan, *child) (sample, error) {
	return func(p plan, server *child) (s sample, err error) {
		return p.idle(server, n, func() (func(), error) {
			pollers, err := dialPollers(server, n)
			for _, one := range pollers {
				if err == nil {
					_, err = one.polls.conn.Write(request("GET", one.path, ""))
				}
			}
			return func() { hangUpAll(pollers) }, err
		})
	}
}

// mostSessions is how many clients one process can have, by its limit on open
// files.
func mostSessions() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1000
	}
	return int(min(limit.Cur, 100_000)) - 500
}

func (p plan) idle(server *child, n int, open func() (hangUp func(), err error)) (s sample, err error) {
	before, err := server.resident()
	if err != nil {
		return s, err
	}
	begin := time.Now()
	hangUp, err := open()
	defer hangUp()
	if err != nil {
		return s, err
	}
	s.rate = float64(n) / time.Since(begin).Seconds()
	time.Sleep(p.length) // let it settle
	after, err := server.resident()
	s.cost = float64(after-before) / float64(n)
	if err != nil {
		return s, err
	}
	wakes, err := server.wakeUps()
	time.Sleep(p.length)
	again, err2 := server.wakeUps()
	s.wakes = float64(again-wakes) / p.length.Seconds()
	return s, errors.Join(err, err2)
}

// wakeUps is how often threads of the process have begun to run after a wait.
func (c *child) wakeUps() (total int64, err error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for _, task := range tasks {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", c.cmd.Process.Pid, task.Name()))
		if err != nil {
			continue // the thread has ended
		}
		for line := range strings.Lines(string(status)) {
			if count, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
				n, err := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
				if err != nil {
					return 0, err
				}
				total += n
			}
		}
	}
	return total, nil
}
