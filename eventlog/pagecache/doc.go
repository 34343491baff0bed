// Package pagecache has the kernel forget what it holds of a file.
package pagecache
