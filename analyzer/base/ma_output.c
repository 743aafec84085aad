/* SPDX-License-Identifier: MIT
 *
 * Outputs; see ma_output.h.
 */
#include "ma_output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *name_of(const struct ma_output *output)
{
    return output->path ? output->path : "standard output";
}

static int open_temporary(struct ma_output *output, mode_t mode)
{
    if (asprintf(&output->temporary, "%s.XXXXXX", output->path) < 0) {
        output->temporary = NULL;
        return -ENOMEM;
    }
    int fd = mkstemp(output->temporary);
    if (fd < 0) {
        int result = -errno;
        free(output->temporary);
        output->temporary = NULL;
        return result;
    }
    fchmod(fd, mode);
    output->file = fdopen(fd, "w");
    if (!output->file) {
        close(fd);
        return -ENOMEM;
    }
    return 0;
}

int ma_output_open(struct ma_output *output, const char *path, struct ma_error *error)
{
    struct stat status;
    *output = (struct ma_output){.file = stdout};
    if (!path || strcmp(path, "-") == 0)
        return 0;
    output->file = NULL;
    output->path = strdup(path);
    if (!output->path)
        return ma_fail_memory(error);
    int result = 0;
    mode_t mask = umask(0);
    umask(mask);
    bool exists = stat(path, &status) == 0;
    if (exists && !S_ISREG(status.st_mode)) {
        output->file = fopen(path, "w");
        if (!output->file)
            result = -errno;
    } else {
        result = open_temporary(output, exists ? status.st_mode & 0777 : 0666 & ~mask);
    }
    if (result < 0)
        ma_fail(error, result, "%s: cannot write: %s", path, strerror(-result));
    return result;
}

int ma_output_commit(struct ma_output *output, struct ma_error *error)
{
    int result = 0;
    errno = 0;
    if (fflush(output->file) != 0 || ferror(output->file))
        result = errno ? -errno : -EIO;
    if (output->path && fclose(output->file) != 0 && result == 0)
        result = errno ? -errno : -EIO;
    output->file = NULL;
    if (result == 0 && output->temporary && rename(output->temporary, output->path) < 0)
        result = -errno;
    if (result < 0) {
        ma_fail(error, result, "%s: cannot write: %s", name_of(output), strerror(-result));
    } else {
        free(output->temporary);
        output->temporary = NULL;
    }
    ma_output_discard(output);
    return result;
}

void ma_output_discard(struct ma_output *output)
{
    if (output->path && output->file)
        fclose(output->file);
    if (output->temporary)
        unlink(output->temporary);
    free(output->temporary);
    free(output->path);
    *output = (struct ma_output){0};
}
