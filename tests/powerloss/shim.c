/*
 * Records what a process does to the files below one directory, so that a loss of power at any moment can be played
 * afterwards. For LD_PRELOAD. It changes nothing: each call is made as it was asked for, and what it did is appended to a
 * journal, in the order in which it took effect.
 *
 *   CLAVIGER_POWER_DIR      the directory, as realpath(3) gives it
 *   CLAVIGER_POWER_JOURNAL  the journal, outside of it
 *
 * One mutex is held around each call and its record. Only a sync runs outside of it, with a record of its beginning and one
 * of its end: what others write in between is not covered by it.
 *
 * Lines on standard output are recorded too, as events. The line "die" in JSON ends the process, with the mutex held, so
 * that nothing takes effect that is not recorded.
 *
 * What it cannot record it refuses to let pass: the process is aborted with a message. copy_file_range and sendfile answer
 * ENOSYS, as on an old kernel, so that the caller reads and writes instead. The calls are made by syscall(2), which spares
 * looking for the functions that these ones hide.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* The numbers are read by journal.rs. */
enum kind {
    OPENED = 1,
    MADE_DIR = 2,
    WROTE = 3,
    TRUNCATED = 4,
    RENAMED = 5,
    UNLINKED = 6,
    REMOVED_DIR = 7,
    SYNC_BEGAN = 8,
    SYNC_ENDED = 9,
    RANGE_SYNCED = 10,
    EVENT = 11,
};

struct head {
    uint32_t kind, first_len, second_len, flags;
    uint64_t subject, number;
};

#define MAX_FDS 4096
static const char DIE[] = "\"die\"\n";

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_len;
static int journal = -1;
static uint64_t tickets;
/* The inode of each watched file that is open; 0 is none. */
static uint64_t inodes[MAX_FDS];

static void die(const char *what, const char *why) {
    char text[PATH_MAX + 128];
    int len = snprintf(text, sizeof text, "powerloss shim: %s: %s\n", what, why);
    syscall(SYS_write, 2, text, len > 0 ? (size_t)len : 0);
    abort();
}

static void lock(void) { pthread_mutex_lock(&mutex); }

static void unlock(void) { pthread_mutex_unlock(&mutex); }

__attribute__((constructor)) static void begin(void) {
    const char *dir = getenv("CLAVIGER_POWER_DIR"), *path = getenv("CLAVIGER_POWER_JOURNAL");
    if (dir == NULL || path == NULL || strlen(dir) >= sizeof root)
        die("begin", "CLAVIGER_POWER_DIR and CLAVIGER_POWER_JOURNAL must be set");
    strcpy(root, dir);
    root_len = strlen(root);
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0)
        die("the journal", strerror(errno));
}

static void put(const void *bytes, size_t len) {
    const char *at = bytes;
    while (len > 0) {
        long n = syscall(SYS_write, journal, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            die("the journal", strerror(errno));
        at += n;
        len -= (size_t)n;
    }
}

/* With the mutex held. Leaves errno as it was. */
static void record(enum kind kind, uint64_t subject, uint64_t number, uint32_t flags, const void *first,
                   size_t first_len, const void *second, size_t second_len) {
    int saved = errno;
    struct head head = {kind, (uint32_t)first_len, (uint32_t)second_len, flags, subject, number};
    put(&head, sizeof head);
    put(first, first_len);
    put(second, second_len);
    errno = saved;
}

/* ---- which files are watched ---- */

static int is_watched(const char *path) {
    return root_len > 0 && strncmp(path, root, root_len) == 0 && (path[root_len] == '/' || path[root_len] == 0);
}

/* A watched path as it stands in the journal: relative to the watched directory. */
static const char *within(const char *path) { return path[root_len] == '/' ? path + root_len + 1 : ""; }

/* The path with its directory's links resolved. Returns whether it is watched. */
static int resolve(int dirfd, const char *path, char out[PATH_MAX]) {
    char whole[PATH_MAX], dir[PATH_MAX], link[64];
    int saved = errno, len;
    if (path[0] == '/') {
        len = snprintf(whole, sizeof whole, "%s", path);
    } else {
        if (dirfd == AT_FDCWD) {
            if (getcwd(dir, sizeof dir) == NULL)
                die("getcwd", strerror(errno));
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
            ssize_t n = readlink(link, dir, sizeof dir - 1);
            if (n < 0) {
                errno = saved;
                return 0;
            }
            dir[n] = 0;
        }
        len = snprintf(whole, sizeof whole, "%s/%s", dir, path);
    }
    if (len < 0 || (size_t)len >= sizeof whole)
        die("a path is too long", path);
    while (len > 1 && whole[len - 1] == '/')
        whole[--len] = 0;
    char *slash = strrchr(whole, '/');
    const char *name = slash + 1;
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%.*s", slash == whole ? 1 : (int)(slash - whole), whole);
    int watched = 0;
    if (realpath(parent, dir) != NULL) {
        len = snprintf(out, PATH_MAX, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name);
        watched = len > 0 && len < PATH_MAX && is_watched(out);
    }
    if (watched && (strcmp(name, "..") == 0 || strcmp(name, ".") == 0))
        die("unsupported path", path);
    errno = saved;
    return watched;
}

static uint64_t inode_of(int fd) { return fd >= 0 && fd < MAX_FDS ? __atomic_load_n(&inodes[fd], __ATOMIC_ACQUIRE) : 0; }

static void set_inode(int fd, uint64_t inode) {
    if (fd >= MAX_FDS)
        die("open", "too many files");
    if (fd >= 0)
        __atomic_store_n(&inodes[fd], inode, __ATOMIC_RELEASE);
}

/* ---- opening and closing ---- */

static int open_at(int dirfd, const char *path, int flags, mode_t mode) {
    char real[PATH_MAX];
    if (!resolve(dirfd, path, real)) {
        int fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
        set_inode(fd, 0);
        return fd;
    }
    if ((flags & O_TMPFILE) == O_TMPFILE)
        die("unsupported: O_TMPFILE", real);
    lock();
    struct stat before, after;
    int saved = errno, existed = fstatat(AT_FDCWD, real, &before, AT_SYMLINK_NOFOLLOW) == 0;
    errno = saved;
    if (existed && S_ISLNK(before.st_mode))
        die("unsupported: a symbolic link", real);
    int fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
    if (fd >= 0) {
        if (fstat(fd, &after) != 0)
            die("fstat", strerror(errno));
        set_inode(fd, after.st_ino);
        record(OPENED, after.st_ino, !existed, after.st_mode, within(real), strlen(within(real)), NULL, 0);
        if (existed && (flags & O_TRUNC) && before.st_size > 0)
            record(TRUNCATED, after.st_ino, 0, 0, NULL, 0, NULL, 0);
    }
    unlock();
    return fd;
}

static mode_t mode_of(int flags, va_list rest) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? (mode_t)va_arg(rest, int) : 0;
}

#define OPEN(name)                                \
    int name(const char *path, int flags, ...) {  \
        va_list rest;                             \
        va_start(rest, flags);                    \
        mode_t mode = mode_of(flags, rest);       \
        va_end(rest);                             \
        return open_at(AT_FDCWD, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                        \
    int name(int dirfd, const char *path, int flags, ...) { \
        va_list rest;                                       \
        va_start(rest, flags);                              \
        mode_t mode = mode_of(flags, rest);                 \
        va_end(rest);                                       \
        return open_at(dirfd, path, flags, mode);           \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
    if (fd == journal && fd >= 0) {
        errno = EBADF;
        return -1;
    }
    set_inode(fd, 0);
    return (int)syscall(SYS_close, fd);
}

static int same_file(int from, int to) {
    if (to >= 0)
        set_inode(to, inode_of(from));
    return to;
}

int dup(int fd) { return same_file(fd, (int)syscall(SYS_dup, fd)); }
int dup2(int from, int to) { return from == to ? to : same_file(from, (int)syscall(SYS_dup3, from, to, 0)); }
int dup3(int from, int to, int flags) { return same_file(from, (int)syscall(SYS_dup3, from, to, flags)); }

#define FCNTL(name)                                                          \
    int name(int fd, int command, ...) {                                     \
        va_list rest;                                                        \
        va_start(rest, command);                                             \
        long argument = va_arg(rest, long);                                  \
        va_end(rest);                                                        \
        int result = (int)syscall(SYS_fcntl, fd, command, argument);         \
        int is_dup = command == F_DUPFD || command == F_DUPFD_CLOEXEC;       \
        return is_dup ? same_file(fd, result) : result;                      \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

/* ---- writing ---- */

ssize_t write(int fd, const void *bytes, size_t len) {
    if (fd == STDOUT_FILENO) {
        lock();
        record(EVENT, 0, 0, 0, NULL, 0, bytes, len);
        if (len == sizeof DIE - 1 && memcmp(bytes, DIE, len) == 0)
            _exit(0);
        unlock();
        return (ssize_t)len;
    }
    uint64_t inode = inode_of(fd);
    if (inode == 0)
        return syscall(SYS_write, fd, bytes, len);
    lock();
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
    off_t offset = lseek(fd, 0, flags >= 0 && (flags & O_APPEND) ? SEEK_END : SEEK_CUR);
    ssize_t n = syscall(SYS_write, fd, bytes, len);
    if (n > 0)
        record(WROTE, inode, (uint64_t)offset, 0, NULL, 0, bytes, (size_t)n);
    unlock();
    return n;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    /* A short write is as good as a whole one. */
    if (fd == STDOUT_FILENO || inode_of(fd) != 0)
        return count > 0 ? write(fd, parts[0].iov_base, parts[0].iov_len) : 0;
    return syscall(SYS_writev, fd, parts, count);
}

static ssize_t write_at(int fd, const void *bytes, size_t len, off_t offset) {
    uint64_t inode = inode_of(fd);
    if (inode == 0)
        return syscall(SYS_pwrite64, fd, bytes, len, offset);
    lock();
    ssize_t n = syscall(SYS_pwrite64, fd, bytes, len, offset);
    if (n > 0)
        record(WROTE, inode, (uint64_t)offset, 0, NULL, 0, bytes, (size_t)n);
    unlock();
    return n;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset) { return write_at(fd, bytes, len, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset) { return write_at(fd, bytes, len, offset); }

#define PWRITEV(name, offset_type)                                                      \
    ssize_t name(int fd, const struct iovec *parts, int count, offset_type offset) {    \
        return count > 0 ? write_at(fd, parts[0].iov_base, parts[0].iov_len, offset) : 0; \
    }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

static int truncate_to(int fd, off_t len) {
    uint64_t inode = inode_of(fd);
    if (inode == 0)
        return (int)syscall(SYS_ftruncate, fd, len);
    lock();
    int result = (int)syscall(SYS_ftruncate, fd, len);
    if (result == 0)
        record(TRUNCATED, inode, (uint64_t)len, 0, NULL, 0, NULL, 0);
    unlock();
    return result;
}

int ftruncate(int fd, off_t len) { return truncate_to(fd, len); }
int ftruncate64(int fd, off64_t len) { return truncate_to(fd, len); }

static int allocate(int fd, int mode, off_t offset, off_t len) {
    uint64_t inode = inode_of(fd);
    if (inode == 0)
        return (int)syscall(SYS_fallocate, fd, mode, offset, len);
    if (mode != 0)
        die("unsupported: fallocate", "with a mode");
    lock();
    struct stat before, after;
    int result = fstat(fd, &before) == 0 ? (int)syscall(SYS_fallocate, fd, mode, offset, len) : -1;
    if (result == 0 && fstat(fd, &after) == 0 && after.st_size != before.st_size)
        record(TRUNCATED, inode, (uint64_t)after.st_size, 0, NULL, 0, NULL, 0);
    unlock();
    return result;
}

int fallocate(int fd, int mode, off_t offset, off_t len) { return allocate(fd, mode, offset, len); }
int fallocate64(int fd, int mode, off64_t offset, off64_t len) { return allocate(fd, mode, offset, len); }
int posix_fallocate(int fd, off_t offset, off_t len) { return allocate(fd, 0, offset, len) == 0 ? 0 : errno; }
int posix_fallocate64(int fd, off64_t offset, off64_t len) { return posix_fallocate(fd, offset, len); }

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t len, unsigned flags) {
    if (inode_of(to) == 0)
        return syscall(SYS_copy_file_range, from, from_at, to, to_at, len, flags);
    errno = ENOSYS;
    return -1;
}

#define SENDFILE(name, offset_type)                                  \
    ssize_t name(int to, int from, offset_type *offset, size_t len) { \
        if (inode_of(to) == 0)                                       \
            return syscall(SYS_sendfile, to, from, offset, len);     \
        errno = ENOSYS;                                              \
        return -1;                                                   \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

static void *map(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    int shared = (flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
    if (shared && (protection & PROT_WRITE) && inode_of(fd) != 0 && !(flags & MAP_ANONYMOUS))
        die("unsupported", "a file that is written through memory");
    return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    return map(at, len, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset) {
    return map(at, len, protection, flags, fd, offset);
}

/* ---- syncing ---- */

static int sync_file(long call, int fd) {
    uint64_t inode = inode_of(fd);
    if (inode == 0)
        return (int)syscall(call, fd);
    lock();
    uint64_t ticket = ++tickets;
    record(SYNC_BEGAN, inode, ticket, 0, NULL, 0, NULL, 0);
    unlock();
    int result = (int)syscall(call, fd);
    if (result == 0) {
        lock();
        record(SYNC_ENDED, inode, ticket, 0, NULL, 0, NULL, 0);
        unlock();
    }
    return result;
}

int fsync(int fd) { return sync_file(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_file(SYS_fdatasync, fd); }

/* Makes nothing durable, as its manual page says: recorded for the count. */
int sync_file_range(int fd, off64_t offset, off64_t len, unsigned flags) {
    uint64_t inode = inode_of(fd);
    int result = (int)syscall(SYS_sync_file_range, fd, offset, len, flags);
    if (inode != 0 && result == 0) {
        lock();
        record(RANGE_SYNCED, inode, 0, 0, NULL, 0, NULL, 0);
        unlock();
    }
    return result;
}

/* ---- names ---- */

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    char real_from[PATH_MAX], real_to[PATH_MAX];
    int is_from = resolve(from_dir, from, real_from), is_to = resolve(to_dir, to, real_to);
    if (!is_from && !is_to)
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    if (!is_from || !is_to || (flags & ~(unsigned)RENAME_NOREPLACE) != 0)
        die("unsupported: rename", from);
    lock();
    int result = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    if (result == 0)
        record(RENAMED, 0, 0, 0, within(real_from), strlen(within(real_from)), within(real_to),
               strlen(within(real_to)));
    unlock();
    return result;
}

int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    return renameat2(from_dir, from, to_dir, to, 0);
}

int unlinkat(int dirfd, const char *path, int flags) {
    char real[PATH_MAX];
    if (!resolve(dirfd, path, real))
        return (int)syscall(SYS_unlinkat, dirfd, path, flags);
    lock();
    int result = (int)syscall(SYS_unlinkat, dirfd, path, flags);
    if (result == 0)
        record(flags & AT_REMOVEDIR ? REMOVED_DIR : UNLINKED, 0, 0, 0, within(real), strlen(within(real)), NULL, 0);
    unlock();
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int dirfd, const char *path, mode_t mode) {
    char real[PATH_MAX];
    if (!resolve(dirfd, path, real))
        return (int)syscall(SYS_mkdirat, dirfd, path, mode);
    lock();
    struct stat made;
    int result = (int)syscall(SYS_mkdirat, dirfd, path, mode);
    if (result == 0 && stat(real, &made) == 0)
        record(MADE_DIR, made.st_ino, 0, made.st_mode, within(real), strlen(within(real)), NULL, 0);
    unlock();
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    char real[PATH_MAX];
    if (resolve(from_dir, from, real) || resolve(to_dir, to, real))
        die("unsupported: link", from);
    return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int symlinkat(const char *target, int dirfd, const char *path) {
    char real[PATH_MAX];
    if (resolve(dirfd, path, real))
        die("unsupported: symlink", path);
    return (int)syscall(SYS_symlinkat, target, dirfd, path);
}

int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

static int chmod_at(int dirfd, const char *path, mode_t mode) {
    char real[PATH_MAX];
    if (resolve(dirfd, path, real))
        die("unsupported: chmod", path);
    return (int)syscall(SYS_fchmodat, dirfd, path, mode);
}

int chmod(const char *path, mode_t mode) { return chmod_at(AT_FDCWD, path, mode); }
int fchmodat(int dirfd, const char *path, mode_t mode, int flags) {
    (void)flags;
    return chmod_at(dirfd, path, mode);
}

int fchmod(int fd, mode_t mode) {
    if (inode_of(fd) != 0)
        die("unsupported: fchmod", "of a watched file");
    return (int)syscall(SYS_fchmod, fd, mode);
}

int truncate(const char *path, off_t len) {
    char real[PATH_MAX];
    if (resolve(AT_FDCWD, path, real))
        die("unsupported: truncate", path);
    return (int)syscall(SYS_truncate, path, len);
}
int truncate64(const char *path, off64_t len) { return truncate(path, len); }

/* What makes more durable than is asked of one file would hide a missing sync. */
void sync(void) { die("unsupported", "sync"); }
int syncfs(int fd) {
    (void)fd;
    die("unsupported", "syncfs");
    return -1;
}
