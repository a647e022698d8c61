/* The part in C of a Rust program: it speaks with the library that the Rust part is linked with. */
#include <midge.h>

#include <string.h>

int part_is_right(void)
{
    midge_config *config = NULL;
    int right = midge_config_new(&config) == MIDGE_STATUS_OK && strcmp(midge_version(), MIDGE_VERSION) == 0;

    midge_config_free(config);
    return right;
}
