/* Does what sanitizers are to find, to show that they look: a data race, or with an argument a leak and a read of freed
 * memory. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static int shared;
static void *volatile kept;

static void *change(void *argument)
{
    (void)argument;
    shared++;
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t thread;
    (void)arguments;
    if (count == 1) {
        pthread_create(&thread, NULL, change, NULL);
        shared++;
        pthread_join(thread, NULL);
        return shared == 2 ? 0 : 1;
    }
    kept = malloc(100);
    kept = NULL;
    if (count == 2)
        return 0;
    kept = malloc(10);
    free(kept);
    printf("%d\n", *(volatile char *)kept);
    return 0;
}
