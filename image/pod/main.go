// The pod that demonstrations and tests run: says where it is, then answers HTTP on port 8080 until it is ended.
// With a path as argument it keeps a counter of its starts there, to show that a volume outlives a reboot.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	name, _ := os.Hostname()
	greeting := fmt.Sprintf("hello from pod %s on node %s", name, os.Getenv("NODE_NAME"))
	if len(os.Args) > 1 {
		text, _ := os.ReadFile(os.Args[1])
		starts, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		greeting = fmt.Sprintf("%s, start %d", greeting, starts+1)
		if err := os.WriteFile(os.Args[1], []byte(strconv.Itoa(starts+1)), 0o600); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(greeting)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		err := http.ListenAndServe(":8080", http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(answer, greeting)
		}))
		fmt.Println(err)
	}()
	<-end
}
